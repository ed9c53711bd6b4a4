// SPDX-License-Identifier: Apache-2.0

@testable import FlowExport
import NIOCore
import Testing

@Suite struct ServerAddressesTests {
    @Test("an IP address resolves to itself", arguments: ["127.0.0.1", "::1", "192.0.2.7", "2001:db8::7"])
    func anAddressIsItself(_ host: String) throws {
        let addresses = try ServerAddresses.resolve(host: host, port: 4318)
        #expect(addresses.map(\.ipAddress) == [host])
        #expect(addresses.map(\.port) == [4318])
    }

    @Test("a host name is resolved") func aNameIsLookedUp() throws {
        let addresses = try ServerAddresses.resolve(host: "localhost", port: 1)
        #expect(!addresses.isEmpty)
        #expect(addresses.allSatisfy { ["127.0.0.1", "::1"].contains($0.ipAddress) && $0.port == 1 })
    }

    @Test("the error about a name without an address contains the name") func anErrorNamesTheNameThatHasNoAddress() {
        let error = #expect(throws: ServerAddresses.ResolutionError.self) {
            try ServerAddresses.resolve(host: "no..such..name", port: 1)
        }
        #expect(error.map { "\($0)".contains("no..such..name") } == true)
    }
}
