// SPDX-License-Identifier: Apache-2.0

import CTestSupport
import Foundation
import Listening
import NIOCore
import NIOPosix
import TestSupport
import Testing

/// Where a port of every address listens, and whom it sees who dials an address.
private typealias Meeting = (listening: SocketAddress, peer: SocketAddress)

/// Lets `address` be dialled in a namespace of its own.
private func meet(
    dialling address: String, _ prepare: @escaping @Sendable () throws -> Void = {}
) async throws -> Meeting {
    try await NetworkNamespace.run {
        try prepare()
        // Its thread inherits what this one has.
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let promise = group.next().makePromise(of: SocketAddress.self)
        let listener = try ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let peer = channel.remoteAddress else { throw ChannelError.unknownLocalAddress }
                    promise.succeed(peer)
                }
            }
            .bindToEveryAddress(port: 0).wait()
        guard let local = listener.localAddress, let port = local.port else { throw ChannelError.unknownLocalAddress }
        let client = try ClientBootstrap(group: group).connect(host: address, port: port).wait()
        let peer = try promise.futureResult.wait()
        try client.close().wait()
        try group.syncShutdownGracefully()
        return (local, peer)
    }
}

@Suite struct ListeningTests {
    @Test func onePortTakesBothFamilies() async throws {
        let v4 = try await meet(dialling: "127.0.0.1").peer
        #expect(v4.unmapped.ipAddress == "127.0.0.1" && v4.unmapped.protocol == .inet)
        #expect(v4.unmapped.port == v4.port)
        let v6 = try await meet(dialling: "::1").peer
        #expect(v6.unmapped.ipAddress == "::1" && v6.unmapped == v6)
    }

    @Test(arguments: [
        "net.ipv6.bindv6only=1", "net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.lo.disable_ipv6=1",
    ])
    func whereTheHostDoesNotWantItBothAreTakenToo(settings: String) async throws {
        let (listening, peer) = try await meet(dialling: "127.0.0.1") {
            try NetworkNamespace.shell("sysctl -qw \(settings)")
        }
        #expect(listening.protocol == .inet6)
        #expect(peer.unmapped.ipAddress == "127.0.0.1")
    }

    @Test func aKernelWithoutIPv6ListensOnIPv4() async throws {
        let (listening, peer) = try await meet(dialling: "127.0.0.1") {
            guard kubenetmon_forbid_ipv6() == 0 else {
                throw TestEnvironmentError("seccomp: \(String(cString: strerror(errno)))")
            }
        }
        #expect(listening.protocol == .inet && listening.ipAddress == "0.0.0.0")
        #expect(peer.unmapped.ipAddress == "127.0.0.1")
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
