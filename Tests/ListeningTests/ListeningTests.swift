// SPDX-License-Identifier: Apache-2.0

import Listening
import NIOCore
import NIOPosix
import TestSupport
import Testing

@Suite struct ListeningTests {
    @Test(arguments: ["127.0.0.1", "::1"]) func onePortTakesBothFamilies(address: String) async throws {
        try NetworkNamespace.requireSandbox()
        let group = MultiThreadedEventLoopGroup.singleton
        let promise = group.next().makePromise(of: SocketAddress.self)
        let listener = try await ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { promise.succeed(try #require(channel.remoteAddress)) }
            }
            .bindToEveryAddress(port: 0).get()
        let port = try #require(listener.localAddress?.port)
        let client = try await ClientBootstrap(group: group).connect(host: address, port: port).get()
        let peer = try await promise.futureResult.get()
        #expect(peer.unmapped.ipAddress == address && peer.unmapped.port == peer.port)
        #expect(peer.unmapped.port == client.localAddress?.port)
        try await client.close()
        try await listener.close()
    }

    @Test func aPortThatIsTakenIsNotTakenTwice() async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let first = try await ServerBootstrap(group: group).bind(host: "0.0.0.0", port: 0).get()
        let port = try #require(first.localAddress?.port)
        await #expect(throws: IOError.self) {
            _ = try await ServerBootstrap(group: group).bindToEveryAddress(port: port).get()
        }
        try await first.close()
    }

    @Test(arguments: [
        ("::ffff:192.0.2.1", "192.0.2.1"), ("::ffff:0.0.0.0", "0.0.0.0"), ("192.0.2.1", "192.0.2.1"), ("::1", "::1"),
        ("::192.0.2.1", "::192.0.2.1"), ("64:ff9b::192.0.2.1", "64:ff9b::c000:201"),
    ])
    func onlyMappedAddressesAreOthers(text: String, unmapped: String) throws {
        let address = try SocketAddress(ipAddress: text, port: 77)
        #expect(address.unmapped.ipAddress == unmapped && address.unmapped.port == 77)
    }
}
