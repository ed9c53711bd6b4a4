// SPDX-License-Identifier: Apache-2.0

public import FlowModel

/// A port that cannot be listened on.
public struct ListenError: Error, CustomStringConvertible {
    private let purpose: String
    private let address: IPAddress?
    private let port: Int
    private let cause: any Error

    /// Makes an error of what the port was for and what happened.
    ///
    /// - Parameters:
    ///   - purpose: What the port is for, such as "agents".
    ///   - address: The address that was to be listened on; nil for all of the host's.
    ///   - port: The port.
    ///   - cause: What happened.
    public init(purpose: String, address: IPAddress? = nil, port: Int, cause: any Error) {
        self.purpose = purpose
        self.address = address
        self.port = port
        self.cause = cause
    }

    /// What was attempted and what happened.
    public var description: String {
        let place = address.map { "port \(port) of \($0)" } ?? "port \(port)"
        return "cannot listen on \(place) for \(purpose): \(cause)"
    }
}
