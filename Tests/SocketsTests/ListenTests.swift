// SPDX-License-Identifier: Apache-2.0

import FlowModel
import Logging
import NIOCore
import NIOPosix
import Sockets
import TestSupport
import Testing

private let failures = AcceptFailures(purpose: "tests", logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })

@Suite struct ListeningTests {
    @Test("one listening port accepts IPv4 and IPv6", arguments: ["127.0.0.1", "::1"])
    func onePortTakesBothFamilies(address: String) async throws {
        try NetworkNamespace.requireSandbox()
        let group = MultiThreadedEventLoopGroup.singleton
        let promise = group.next().makePromise(of: SocketAddress.self)
        let listener = try await ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { promise.succeed(try #require(channel.remoteAddress)) }
            }
            .listen(port: 0, failures)
        let port = try #require(listener.localAddress?.port)
        let client = try await ClientBootstrap(group: group)
            .connect(to: SocketAddress(ipAddress: address, port: port)).get()
        let peer = try await promise.futureResult.get()
        #expect(peer.unmapped.ipAddress == address && peer.unmapped.port == peer.port)
        #expect(peer.unmapped.port == client.localAddress?.port)
        try await client.close()
        try await listener.close()
    }

    @Test("with an address, the port listens on it only", arguments: ["127.0.0.3", "::1"])
    func oneAddress(address: String) async throws {
        try NetworkNamespace.requireSandbox()
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .listen(on: IPAddress(address), port: 0, failures)
        #expect(listener.localAddress?.ipAddress == address)
        try await listener.close()
    }

    @Test("listening on a port in use fails") func aPortThatIsTakenIsNotTakenTwice() async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let first = try await ServerBootstrap(group: group).listen(on: IPAddress("0.0.0.0"), port: 0, failures)
        let port = try #require(first.localAddress?.port)
        await #expect(throws: IOError.self) {
            _ = try await ServerBootstrap(group: group).listen(port: port, failures)
        }
        try await first.close()
    }

    @Test(
        "only IPv4-mapped addresses are converted to IPv4",
        arguments: [
            ("::ffff:192.0.2.1", "192.0.2.1"), ("::ffff:0.0.0.0", "0.0.0.0"), ("192.0.2.1", "192.0.2.1"),
            ("::1", "::1"),
            ("::192.0.2.1", "::192.0.2.1"), ("64:ff9b::192.0.2.1", "64:ff9b::c000:201"),
        ])
    func onlyMappedAddressesAreOthers(text: String, unmapped: String) throws {
        let address = try SocketAddress(ipAddress: text, port: 77)
        #expect(address.unmapped.ipAddress == unmapped && address.unmapped.port == 77)
    }

    @Test(
        "a source is an IPv4 address or an IPv6 /64",
        arguments: [
            ("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"), ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ])
    func source(text: String, source: String) throws {
        #expect(try SocketAddress(ipAddress: text, port: 77).source == source)
    }
}
