// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing

/// The addresses on which the agent answers probes, in namespaces with and without IPv6.
@Suite struct ProbeAddressTests {
    private static let program = Repository.program("kubenetmon-agent").path

    /// Makes the kernel look like one without IPv6: socket(AF_INET6, ...) fails with EAFNOSUPPORT (seccomp(2)).
    private static let withoutIPv6 = """
        python3 -c '
        import ctypes, os, socket, struct, sys
        number = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
        load, jump, end = 0x20, 0x15, 0x06
        code = [(load, 0, 0, 0), (jump, 0, 3, number), (load, 0, 0, 16), (jump, 0, 1, int(socket.AF_INET6)),
                (end, 0, 0, 0x00050000 | 97), (end, 0, 0, 0x7fff0000)]
        text = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in code))
        program = struct.pack("@HP", len(code), ctypes.addressof(text))
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()
        os.execv(sys.argv[1], sys.argv[1:])
        '
        """

    /// Returns the addresses that answer, followed by the port's listening addresses according to ss(8).
    ///
    /// - Parameters:
    ///   - setup: Commands that set up the namespace.
    ///   - launcher: The command that starts the agent.
    private func answers(_ setup: String = ":", launcher: String = "env") async throws -> String {
        try await NetworkNamespace.run {
            try NetworkNamespace.shell(
                """
                \(setup)
                NODE_NAME=node-a \(launcher) \(Self.program) --server-host 127.0.0.1 >/dev/null 2>&1 & agent=$!
                trap 'kill -KILL $agent' EXIT
                until curl -sf -o /dev/null http://127.0.0.1:8883/live; do kill -0 $agent; sleep 0.05; done
                for address in 127.0.0.1 '[::1]' 192.0.2.1 '[2001:db8::1]'; do
                    curl -sf -o /dev/null "http://$address:8883/live" && echo "$address" || :
                done
                ss -Hltn 'sport = :8883' | awk '{ print $4 }' | sort
                """)
        }
    }

    /// Adds an interface with an IPv4 address besides the loopback: only then does getaddrinfo(3) with AI_ADDRCONFIG
    /// detect that IPv6 is missing.
    private static let withIPv4 = "ip link add eth0 type veth peer name other; ip address add 192.0.2.1/24 dev eth0; "

    @Test("probes are answered on all IPv4 and IPv6 addresses") func bothFamiliesAreAnswered() async throws {
        #expect(try await answers() == "127.0.0.1\n[::1]\n*:8883\n")
        #expect(try await answers("sysctl -qw net.ipv6.bindv6only=1") == "127.0.0.1\n[::1]\n*:8883\n")
        let setup = Self.withIPv4 + "ip address add 2001:db8::1/64 dev eth0 nodad; ip link set eth0 up"
        #expect(try await answers(setup) == "127.0.0.1\n[::1]\n192.0.2.1\n[2001:db8::1]\n*:8883\n")
    }

    @Test(
        "without IPv6 addresses other than ::1, or without any, probes are answered over IPv4",
        arguments: [
            // With the loopback only.
            ("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.lo.disable_ipv6=1", "127.0.0.1\n*:8883\n"),
            // With an IPv4 address, and IPv6 disabled for one interface, for new ones, for all.
            (
                withIPv4 + "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1; ip link set eth0 up",
                "127.0.0.1\n[::1]\n192.0.2.1\n*:8883\n"
            ),
            (
                "sysctl -qw net.ipv6.conf.default.disable_ipv6=1; " + withIPv4 + "ip link set eth0 up",
                "127.0.0.1\n[::1]\n192.0.2.1\n*:8883\n"
            ),
            (
                withIPv4 + "ip link set eth0 up; sysctl -qw net.ipv6.conf.all.disable_ipv6=1",
                "127.0.0.1\n192.0.2.1\n*:8883\n"
            ),
        ])
    func withoutIPv6Addresses(setup: String, answering: String) async throws {
        #expect(try await answers(setup) == answering)
    }

    @Test("a kernel without IPv6 answers probes over IPv4") func aKernelWithoutIPv6AnswersOverIPv4() async throws {
        #expect(try await answers(launcher: Self.withoutIPv6) == "127.0.0.1\n0.0.0.0:8883\n")
        let setup = Self.withIPv4 + "ip link set eth0 up"
        #expect(try await answers(setup, launcher: Self.withoutIPv6) == "127.0.0.1\n192.0.2.1\n0.0.0.0:8883\n")
    }

    @Test("with METRICS_ADDRESS, probes are answered on that address and 127.0.0.1 only")
    func oneAddress() async throws {
        let setup = Self.withIPv4 + "ip address add 2001:db8::1/64 dev eth0 nodad; ip link set eth0 up"
        #expect(
            try await answers(setup, launcher: "env METRICS_ADDRESS=192.0.2.1")
                == "127.0.0.1\n192.0.2.1\n127.0.0.1:8883\n192.0.2.1:8883\n")
        #expect(
            try await answers(setup, launcher: "env METRICS_ADDRESS=2001:db8::1")
                == "127.0.0.1\n[2001:db8::1]\n127.0.0.1:8883\n[2001:db8::1]:8883\n")
        #expect(
            try await answers(setup, launcher: "env METRICS_ADDRESS=::")
                == "127.0.0.1\n[::1]\n192.0.2.1\n[2001:db8::1]\n*:8883\n")
    }
}
