// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// The failure to listen on a port.
public struct ListenError: Error, CustomStringConvertible {
    private let purpose: String
    private let address: IPAddress?
    private let port: Int
    private let cause: any Error

    /// Makes an error from the port and the cause.
    ///
    /// - Parameters:
    ///   - purpose: The port's purpose, such as "agents".
    ///   - address: The address to listen on; nil for all of the host's addresses.
    ///   - port: The port.
    ///   - cause: The underlying error.
    public init(purpose: String, address: IPAddress? = nil, port: Int, cause: any Error) {
        self.purpose = purpose
        self.address = address
        self.port = port
        self.cause = cause
    }

    /// The port, its purpose and the underlying error.
    public var description: String {
        let place = address.map { "port \(port) of \($0)" } ?? "port \(port)"
        return "cannot listen on \(place) for \(purpose): \(cause)"
    }
}
