// SPDX-License-Identifier: Apache-2.0

import FlowModel
import HostAddresses
import Synchronization
import TestSupport
import Testing

/// Tests against a real kernel, each in its own network namespace.
@Suite struct HostAddressesTests {
    private static func read(limit: Int = 256) throws -> [String] {
        let reading = try HostAddresses().read(limit: limit)
        #expect(reading.omitted == 0 && reading.malformedMessages == 0)
        return reading.addresses.map(\.description)
    }

    @Test("the addresses of all interfaces are read, up or down")
    func interfaces() async throws {
        let addresses = try await NetworkNamespace.run {
            try NetworkNamespace.shell(
                """
                ip link add cni0 type bridge
                ip address add 10.244.1.1/24 dev cni0
                ip link set cni0 up
                ip link add flannel.1 type bridge
                ip address add 10.244.1.0/32 dev flannel.1
                ip address add 2001:db8::1/64 dev flannel.1 nodad
                ip link add docker0 type bridge
                ip address add 172.17.0.1/16 dev docker0
                ip address add 172.17.0.2/16 dev docker0
                ip address add 169.254.20.10/32 dev lo
                ip address add 203.0.113.9/32 dev lo
                ip address add fe80::1/64 dev flannel.1 nodad
                """)
            return try Self.read()
        }
        // The link-local address that the kernel gives an interface that is up is not in the result.
        #expect(
            addresses == [
                "10.244.1.0", "10.244.1.1", "169.254.20.10", "172.17.0.1", "172.17.0.2", "203.0.113.9", "2001:db8::1",
            ])
    }

    @Test("of a point-to-point link, the host's own address is read")
    func pointToPoint() async throws {
        let addresses = try await NetworkNamespace.run {
            try NetworkNamespace.shell(
                """
                ip link add net0 type bridge
                ip address add 10.0.0.1 peer 10.0.0.2 dev net0
                ip address add fd00::1 peer fd00::2 dev net0 nodad
                """)
            return try Self.read()
        }
        #expect(addresses == ["10.0.0.1", "fd00::1"])
    }

    @Test("a namespace with only a loopback interface has no addresses")
    func nothing() async throws {
        #expect(try await NetworkNamespace.run { try Self.read() } == [])
    }

    @Test("addresses of interfaces for services are skipped")
    func services() async throws {
        let addresses = try await NetworkNamespace.run {
            try NetworkNamespace.shell(
                """
                for name in kube-ipvs0 kube-dummy-if kube-ipvs1; do ip link add $name type bridge; done
                ip address add 10.96.0.1/32 dev kube-ipvs0
                ip address add fd96::1/128 dev kube-ipvs0 nodad
                ip address add 10.96.0.2/32 dev kube-dummy-if
                ip address add 192.0.2.1/32 dev kube-ipvs1
                """)
            return try Self.read()
        }
        #expect(addresses == ["192.0.2.1"])
    }

    @Test("above the limit, the first addresses in order are read")
    func limit() async throws {
        let (first, second) = try await NetworkNamespace.run {
            try NetworkNamespace.shell(
                """
                ip link add many type bridge
                { for host in $(seq 300 -1 1); do
                    echo address add 10.0.$((host / 256)).$((host % 256))/32 dev many
                done; echo address add fd00::1/128 dev many nodad; } | ip -batch -
                """)
            let addresses = try HostAddresses()
            return (try addresses.read(limit: 256), try addresses.read(limit: 1_000))
        }
        #expect(first.addresses.count == 256 && first.omitted == 45)
        #expect(second.addresses.count == 301 && second.omitted == 0)
        #expect(first.addresses == Array(second.addresses.prefix(256)))
        #expect(second.addresses.last == IPAddress("fd00::1"))
    }

    @Test("added and removed addresses are noticed, also in a burst that exceeds the socket's buffer")
    func changes() async throws {
        try await NetworkNamespace.run {
            try NetworkNamespace.shell(
                """
                ip link add net0 type veth peer name net1
                for name in net0 net1; do ip link set $name addrgenmode none up; done
                """)
            let addresses = try HostAddresses()
            for (command, expected) in [
                ("add 10.0.0.1/24 dev net0", ["10.0.0.1"]),
                ("add fd00::1/64 dev net0 nodad", ["10.0.0.1", "fd00::1"]),
                ("delete 10.0.0.1/24 dev net0", ["fd00::1"]),
            ] {
                try NetworkNamespace.shell("ip address \(command)")
                #expect(addresses.waitForChange())
                #expect(try addresses.read(limit: 256).addresses.map(\.description) == expected)
            }
            // Far more than the socket's buffer holds: the kernel drops most of them.
            try NetworkNamespace.shell(
                "seq 4000 | awk '{print \"address add 10.1.\" int($1 / 200) \".\" $1 % 200 + 1 \"/32 dev net0\"}' | ip -batch -"
            )
            #expect(addresses.waitForChange())
            #expect(try addresses.read(limit: 5_000).addresses.count == 4_001)
            addresses.interrupt()
            #expect(!addresses.waitForChange())
        }
    }

    @Test("an interruption ends the current and all later waits")
    func interruption() async throws {
        try await NetworkNamespace.run {
            let addresses = try HostAddresses()
            #expect(addresses.pause(milliseconds: 1))
            addresses.interrupt()
            #expect(!addresses.waitForChange())
            #expect(!addresses.pause(milliseconds: 3_600_000))
        }
    }
}
