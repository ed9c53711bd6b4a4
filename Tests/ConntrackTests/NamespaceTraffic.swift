// SPDX-License-Identifier: Apache-2.0

import CNetfilter
import FlowModel
import Glibc
import TestSupport

@testable import Conntrack

/// An address and a port.
struct Endpoint: Sendable {
    let address: IPAddress
    let port: UInt16

    init(_ text: String, _ port: UInt16) {
        address = ConntrackTests.address(text)
        self.port = port
    }
}

/// A socket in the network namespace of the thread that creates it, closed with the object. All calls block.
final class TestSocket {
    enum Kind: Sendable { case tcp, udp }

    private let descriptor: Int32

    /// Creates a socket that is bound to `endpoint`.
    init(_ kind: Kind, at endpoint: Endpoint) throws {
        // CLOEXEC: programs that other tests start meanwhile must not inherit the descriptor.
        descriptor = socket(
            endpoint.address.isIPv4 ? AF_INET : AF_INET6,
            Int32((kind == .tcp ? SOCK_STREAM : SOCK_DGRAM).rawValue | SOCK_CLOEXEC.rawValue), 0)
        var timeout = timeval(tv_sec: 300, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        try Self.check("bind", endpoint.withSocketAddress { bind(descriptor, $0, $1) })
    }

    private init(accepted descriptor: Int32) { self.descriptor = descriptor }

    deinit { Glibc.close(descriptor) }

    /// Returns a TCP socket that listens at `endpoint`.
    static func listener(at endpoint: Endpoint) throws -> TestSocket {
        let listener = try TestSocket(.tcp, at: endpoint)
        try check("listen", listen(listener.descriptor, 8))
        return listener
    }

    /// Returns the two ends of a TCP connection from `client` to `server`, an address that leads to this listener.
    func connection(from client: Endpoint, to server: Endpoint) throws -> (client: TestSocket, server: TestSocket) {
        let socket = try TestSocket(.tcp, at: client)
        try Self.check("connect", server.withSocketAddress { connect(socket.descriptor, $0, $1) })
        let accepted = accept(descriptor, nil, nil)
        try Self.check("accept", accepted)
        try Self.check("fcntl", fcntl(accepted, F_SETFD, FD_CLOEXEC))
        return (socket, TestSocket(accepted: accepted))
    }

    /// Sends bytes over a connection to `peer`, which receives them.
    func send(_ count: Int, to peer: TestSocket) throws {
        var left = count
        while left > 0 {
            // Small enough for the socket's buffer: `peer` reads only after the whole chunk has been sent.
            let chunk = [UInt8](repeating: 0x2a, count: min(left, 8192))
            try Self.check("send", Glibc.send(descriptor, chunk, chunk.count, 0))
            try peer.receive(chunk.count)
            left -= chunk.count
        }
    }

    /// Sends a datagram to a remote endpoint, where `peer` receives it.
    func send(datagram count: Int, to remote: Endpoint, receivedBy peer: TestSocket) throws {
        let data = [UInt8](repeating: 0x2a, count: count)
        try Self.check("sendto", remote.withSocketAddress { sendto(descriptor, data, count, 0, $0, $1) })
        try peer.receive(count)
    }

    /// Closes a connection in an orderly way, this side first.
    static func end(_ first: TestSocket, then second: TestSocket) throws {
        try check("shutdown", shutdown(first.descriptor, Int32(SHUT_WR)))
        var byte: UInt8 = 0
        try check("recv", recv(second.descriptor, &byte, 1, 0))
        try check("shutdown", shutdown(second.descriptor, Int32(SHUT_WR)))
        try check("recv", recv(first.descriptor, &byte, 1, 0))
    }

    private func receive(_ count: Int) throws {
        var buffer = [UInt8](repeating: 0, count: max(count, 1))
        var left = count
        repeat {
            let length = recv(descriptor, &buffer, max(left, 1), 0)
            try Self.check("recv", length)
            left -= length
        } while left > 0
    }

    private static func check(_ call: String, _ result: some SignedInteger) throws {
        guard result >= 0 else { throw TestEnvironmentError("\(call): \(String(cString: strerror(errno)))") }
    }
}

extension Endpoint {
    fileprivate func withSocketAddress<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        func lend<Address>(_ address: Address) -> Result {
            withUnsafePointer(to: address) { address in
                body(
                    UnsafeRawPointer(address).assumingMemoryBound(to: sockaddr.self),
                    socklen_t(MemoryLayout<Address>.size))
            }
        }
        if let v4 = address.v4 {
            var socketAddress = sockaddr_in()
            socketAddress.sin_family = sa_family_t(AF_INET)
            socketAddress.sin_port = port.bigEndian
            socketAddress.sin_addr.s_addr = v4.bigEndian
            return lend(socketAddress)
        }
        var socketAddress = sockaddr_in6()
        socketAddress.sin6_family = sa_family_t(AF_INET6)
        socketAddress.sin6_port = port.bigEndian
        withUnsafeMutableBytes(of: &socketAddress.sin6_addr) {
            $0.storeBytes(of: address.bits.bigEndian, as: UInt128.self)
        }
        return lend(socketAddress)
    }
}

/// Traffic between addresses of the calling thread's network namespace, none of them loopback addresses.
enum Traffic {
    /// Gives the namespace the addresses 192.0.2.10, 198.51.100.10, 2001:db8::10 and 2001:db8::20.
    static func addAddresses() throws {
        try NetworkNamespace.shell(
            """
            for address in 192.0.2.10/32 198.51.100.10/32; do ip address add $address dev lo; done
            for address in 2001:db8::10/128 2001:db8::20/128; do ip address add $address dev lo nodad; done
            # The kernel adds the routes of the latter a little later.
            until [ $(ip -6 route show table local | grep -c 2001:db8::) = 2 ]; do sleep 0.01; done
            """)
    }

    /// Returns the two ends of a flow over IPv4 or IPv6.
    static func endpoints(_ isIPv4: Bool, _ sourcePort: UInt16, _ destinationPort: UInt16) -> (Endpoint, Endpoint) {
        (
            Endpoint(isIPv4 ? "192.0.2.10" : "2001:db8::10", sourcePort),
            Endpoint(isIPv4 ? "198.51.100.10" : "2001:db8::20", destinationPort)
        )
    }

    /// The parts of a mixed table, as numbers of entries.
    static let mixed = (udp: 200, tcp: 50, translatedUDP: 50, translatedTCP: 50)

    /// Creates a table of ``mixed`` entries, each with packets in both directions. All connections have ended, so the
    /// table does not change afterwards. Needs ``addAddresses()``.
    static func makeMixedTable() throws {
        try NetworkNamespace.shell(
            """
            ip route add 203.0.113.0/24 dev lo src 192.0.2.10
            nft -f - <<'END'
            table inet nat {
                chain output {
                    type nat hook output priority -100
                    ip daddr 203.0.113.80 tcp dport 80 dnat ip to 198.51.100.10:8080
                    ip daddr 203.0.113.53 udp dport 53 dnat ip to 198.51.100.10:5353
                }
            }
            END
            """)
        for port in UInt16(40_000)..<UInt16(40_000 + mixed.udp) {
            let (client, server) = endpoints(port % 3 != 0, port, 10_000 + port)
            let sockets = (try TestSocket(.udp, at: client), try TestSocket(.udp, at: server))
            try sockets.0.send(datagram: Int(port) % 977, to: server, receivedBy: sockets.1)
            try sockets.1.send(datagram: Int(port) % 13, to: client, receivedBy: sockets.0)
            guard port % 4 == 0 else { continue }
            let ends = try TestSocket.listener(at: server).connection(from: client, to: server)
            try ends.client.send(Int(port), to: ends.server)
            try TestSocket.end(ends.client, then: ends.server)
        }
        let name = try TestSocket(.udp, at: Endpoint("198.51.100.10", 5353))
        let web = try TestSocket.listener(at: Endpoint("198.51.100.10", 8080))
        for port in UInt16(41_000)..<UInt16(41_000 + mixed.translatedUDP) {
            let client = Endpoint("192.0.2.10", port)
            let asking = try TestSocket(.udp, at: client)
            try asking.send(datagram: 40, to: Endpoint("203.0.113.53", 53), receivedBy: name)
            try name.send(datagram: 120, to: client, receivedBy: asking)
            let ends = try web.connection(from: client, to: Endpoint("203.0.113.80", 80))
            try ends.server.send(5_000, to: ends.client)
            try TestSocket.end(ends.client, then: ends.server)
        }
        let connections = mixed.tcp + mixed.translatedTCP
        try eventuallyBlocking("\(connections) connections have ended") {
            try NetworkNamespace.shell("conntrack -L -p tcp | grep -c TIME_WAIT || true")
                .split(separator: "\n").contains("\(connections)")
        }
    }
}

/// Returns the datagrams of the kernel's response to a plain dump of the connection table, requested with libmnl alone.
func rawDump() throws -> [[UInt8]] {
    guard let socket = mnl_socket_open(NETLINK_NETFILTER) else { throw TestEnvironmentError("mnl_socket_open failed") }
    defer { mnl_socket_close(socket) }
    guard mnl_socket_bind(socket, 0, 0) == 0 else { throw TestEnvironmentError("mnl_socket_bind failed") }
    let header = nlmsghdr(
        nlmsg_len: 20, nlmsg_type: UInt16(NFNL_SUBSYS_CTNETLINK) << 8 | UInt16(IPCTNL_MSG_CT_GET.rawValue),
        nlmsg_flags: UInt16(NLM_F_REQUEST | NLM_F_DUMP), nlmsg_seq: 1, nlmsg_pid: 0)
    let request = withUnsafeBytes(of: header, Array.init) + [0, 0, 0, 0]
    guard mnl_socket_sendto(socket, request, request.count) > 0 else {
        throw TestEnvironmentError("mnl_socket_sendto failed")
    }
    var datagrams: [[UInt8]] = []
    while true {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let length = mnl_socket_recvfrom(socket, &buffer, buffer.count)
        guard length >= 16 else { throw TestEnvironmentError("recvfrom: \(String(cString: strerror(errno)))") }
        datagrams.append(Array(buffer.prefix(length)))
        // NLMSG_DONE ends the response, alone or after the last entries; nothing follows it.
        let done = datagrams.last?.suffix(20).prefix(6).suffix(2)
        if done.map(Array.init) == [UInt8(NLMSG_DONE), 0] { return datagrams }
    }
}

/// Returns the flows of the table without zeroing its counters.
func flowsOfTheTable() throws -> Set<Flow> {
    var flows: Set<Flow> = []
    for datagram in try rawDump() {
        try datagram.withUnsafeBytes { bytes in
            var messages = NetlinkMessages(bytes)
            while let message = try messages.next() {
                if let attributes = message.attributes, let flow = ConntrackEntry(attributes)?.flow {
                    flows.insert(flow)
                }
            }
        }
    }
    return flows
}

/// Waits until a condition holds and blocks the calling thread. Throws after a time that only a hang can explain.
func eventuallyBlocking(_ what: String, _ condition: () throws -> Bool) throws {
    let deadline = ContinuousClock.now + .seconds(300)
    while try !condition() {
        guard ContinuousClock.now < deadline else { throw TestEnvironmentError("timed out waiting until \(what)") }
        usleep(2000)
    }
}
