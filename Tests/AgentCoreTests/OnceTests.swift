// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// `kubenetmon-agent --once` in namespaces with connections whose counts are known.
@Suite struct OnceTests {
    private static let program = Repository.program("kubenetmon-agent").path

    /// Adds addresses and a service address, and defines a shell function that replaces the shell (`exec`):
    /// `udp SOURCE PORT DESTINATION PORT COUNT PAUSE` sends datagrams of 1000 bytes, including IPv4's headers, and 20
    /// more over IPv6.
    private static let prepare = """
        background=
        trap 'kill $background 2>/dev/null || :' EXIT
        for address in 192.0.2.10/32 198.51.100.10/32; do ip address add $address dev lo; done
        for address in 2001:db8::10/128 2001:db8::20/128; do ip address add $address dev lo nodad; done
        until [ $(ip -6 route show table local | grep -c 2001:db8::) = 2 ]; do sleep 0.01; done
        ip route add 203.0.113.0/24 dev lo src 192.0.2.10
        nft 'add table inet nat; add chain inet nat output { type nat hook output priority -100; }'
        nft add rule inet nat output ip daddr 203.0.113.53 udp dport 53 dnat ip to 198.51.100.10:5353
        udp() {
            exec python3 -c '
        import socket, sys, time
        source, port, destination, other, count, pause = sys.argv[1:]
        sender = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET, socket.SOCK_DGRAM)
        sender.bind((source, int(port)))
        receiver = socket.socket(sender.family, socket.SOCK_DGRAM)
        receiver.bind(("198.51.100.10" if destination == "203.0.113.53" else destination,
                       5353 if destination == "203.0.113.53" else int(other)))
        for _ in range(int(count)):
            sender.sendto(bytes(972), (destination, int(other)))
            receiver.recv(2000)
            time.sleep(float(pause))
        ' "$@"
        }

        """

    /// Runs a command line in a namespace of its own, and returns the lines of its output, split at spaces.
    private func run(_ command: String) async throws -> [[String]] {
        let output = try await NetworkNamespace.run { try NetworkNamespace.shell(Self.prepare + command) }
        return output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
    }

    @Test("--once shows connections with both directions and leaves the counters unchanged")
    func connectionsAreShownWithWhatRepliesCarryAndCountersStay() async throws {
        let lines = try await run(
            """
            (udp 192.0.2.10 40001 198.51.100.10 53 3 0)
            (udp 2001:db8::10 40002 2001:db8::20 53 2 0)
            (udp 192.0.2.10 40003 203.0.113.53 53 12 0)
            before=$(conntrack -L -o extended 2>/dev/null | grep -o 'src=.*' | sort)
            NODE_NAME= \(Self.program) --once --collection-interval 10ms
            after=$(conntrack -L -o extended 2>/dev/null | grep -o 'src=.*' | sort)
            [ "$before" = "$after" ] && echo same
            """)
        #expect(
            lines[0]
                == "PROTO SOURCE DESTINATION PKTS> PKTS< BYTES> BYTES< PKT/S> PKT/S< B/S> B/S<".split(separator: " ")
                .map(
                    String.init))
        let rest = lines.dropFirst().map { $0.joined(separator: " ") }
        #expect(
            rest.prefix(4) == [
                "udp 192.0.2.10:40003 203.0.113.53:53 12 0 12.0K 0 0 0 0 0",
                "reply 198.51.100.10:5353 192.0.2.10:40003",
                "udp 192.0.2.10:40001 198.51.100.10:53 3 0 3.00K 0 0 0 0 0",
                "udp [2001:db8::10]:40002 [2001:db8::20]:53 2 0 2.04K 0 0 0 0 0",
            ])
        #expect(rest[4].hasPrefix("total 3 connections over ") && rest[4].hasSuffix(" s 17 0 17.0K 0 0 0 0 0"))
        #expect(rest.last == "same")
    }

    @Test("--once shows the busiest connection first, with its rate")
    func theBusiestIsFirstWithItsRate() async throws {
        // A busy machine may not run the sender for a whole interval, so the measurement is repeated.
        let lines = try await run(
            """
            (udp 192.0.2.10 40001 198.51.100.10 53 500 0)
            udp 192.0.2.10 40002 198.51.100.10 54 1000000 0.02 & background=$!
            for attempt in $(seq 100); do
                output=$(COLLECTION_INTERVAL=1h \(Self.program) --once)
                echo "$output" | awk 'NR == 2 && $2 ~ /:40002$/ && $8 + 0 > 0 { busy = 1 } END { exit !busy }' && break
            done
            echo "$output"
            """)
        let busy = try #require(lines.dropFirst().first)
        #expect(busy[1] == "192.0.2.10:40002")
        let packets = try #require(Double(busy[7]))
        #expect(packets > 0 && packets <= 60)
        // Each packet has 1000 bytes.
        let bytes = busy[9]
        let number = try #require(Double(bytes.last == "K" ? String(bytes.dropLast()) : bytes))
        #expect(abs((bytes.last == "K" ? number * 1000 : number) - packets * 1000) <= 110)
        #expect(lines[3].joined(separator: " ").hasPrefix("total 2 connections over "))
        #expect(lines[2].joined(separator: " ") == "udp 192.0.2.10:40001 198.51.100.10:53 500 0 500K 0 0 0 0 0")
    }

    @Test("--once only counts connections of other protocols, of loopback and without traffic")
    func otherProtocolsAndTheIdleAreCountedOnly() async throws {
        let lines = try await run(
            """
            (udp 192.0.2.10 40001 198.51.100.10 53 1 0)
            (udp 127.0.0.1 40001 127.0.0.1 53 1 0)
            sysctl -qw net.ipv4.ping_group_range='0 0'
            python3 -c '
            import socket
            ping = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
            ping.bind(("192.0.2.10", 0))
            ping.sendto(bytes([8, 0, 0, 0, 0, 0, 0, 1]) + bytes(56), ("198.51.100.10", 0))
            ping.recv(2000)
            '
            conntrack -I -p tcp -t 100 -s 192.0.2.1 -d 192.0.2.2 --sport 1 --dport 2 --state ESTABLISHED 2>/dev/null
            COLLECTED_PROTOCOLS=icmp \(Self.program) --once --collection-interval 1ms
            \(Self.program) --once --protocols udp --collection-interval 1ms
            """)
        let text = lines.map { $0.joined(separator: " ") }
        let icmp = text.prefix { !$0.hasPrefix("connections not shown") }
        #expect(icmp.count == 3 && icmp[1] == "icmp 192.0.2.10 198.51.100.10 1 1 84 84 0 0 0 0", "\(text)")
        let idle = "connections not shown: 1 idle since the last read or not counted, "
        #expect(text[3] == idle + "2 of other protocols")
        #expect(text[5].hasPrefix("udp 192.0.2.10:40001 "))
        #expect(text.last == idle + "1 of other protocols, 1 on loopback")
    }

    @Test("--once warns that counts are too low while another program zeroes counters")
    func countersThatSomebodyTakesAllTheTimeAreSpokenOf() async throws {
        let lines = try await run(
            """
            python3 -c '
            import random, socket
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sender.bind(("192.0.2.10", 40000))
            while True:
                sender.sendto(b"x", ("198.51.100.10", random.randint(20000, 20049)))
            ' & background=$!
            while :; do conntrack -L -z >/dev/null 2>&1; done & background="$background $!"
            for attempt in $(seq 100); do
                output=$(\(Self.program) --once --collection-interval 300ms 2>&1)
                case $output in *"too low"*) break;; esac
            done
            echo "$output"
            """)
        let last = lines.last?.joined(separator: " ") ?? ""
        #expect(
            last.hasPrefix("counters of ")
                && last.hasSuffix(" connections were zeroed between the reads: their rates are too low"), "\(last)")
    }

    @Test("--once exits with 0 when its reader closes the pipe")
    func whoeverHasSeenEnoughIsNotToldOfIt() async throws {
        let lines = try await run(
            """
            (udp 192.0.2.10 40001 198.51.100.10 53 1 0)
            for handler in - ''; do
                trap "$handler" PIPE
                { \(Self.program) --once --collection-interval 200ms; echo "code $?" >&2; } | true
                wait
            done
            """)
        #expect(lines == [["code", "0"], ["code", "0"]])
    }

    @Test("--once exits with 1 if its output cannot be written")
    func outputThatCannotBeWrittenIsAFailure() async throws {
        let lines = try await run("\(Self.program) --once --collection-interval 1ms >/dev/full || echo code $?")
        #expect(
            lines.map { $0.joined(separator: " ") } == [
                "Error: cannot write the output: No space left on device", "code 1",
            ])
    }

    @Test("--once exits with 1 if accounting is off, and names the remedy")
    func aKernelThatDoesNotCountIsSpokenOf() async throws {
        let lines = try await run(
            "sysctl -qw net.netfilter.nf_conntrack_acct=0; \(Self.program) --once || echo code $?")
        let text = lines.map { $0.joined(separator: " ") }.joined(separator: "\n")
        #expect(text.hasPrefix("Error: the kernel does not count: net.netfilter.nf_conntrack_acct is 0."))
        #expect(text.contains("enable-accounting") && text.hasSuffix("\ncode 1"))
    }

    @Test("--once without CAP_NET_ADMIN exits with 1 and names the capability")
    func withoutItsCapabilityItSaysSo() async throws {
        let lines = try await run(
            "setpriv --bounding-set=-net_admin --inh-caps=-net_admin \(Self.program) --once || echo code $?")
        let text = lines.map { $0.joined(separator: " ") }.joined(separator: "\n")
        #expect(text.contains("CAP_NET_ADMIN") && text.hasSuffix("\ncode 1"))
    }

    @Test("--once rejects settings that only a running agent has")
    func theAgentsOwnSettingsAreNotTaken() async throws {
        let output = try await ChildProcess.shell("\(Self.program) --once --server-host a 2>&1 || echo code $?")
        #expect(output.contains("--server-host: there is no such flag") && output.hasSuffix("code 64\n"))
    }
}
