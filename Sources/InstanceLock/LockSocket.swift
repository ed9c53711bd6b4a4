// SPDX-License-Identifier: Apache-2.0

import CDescriptorPassing
import Glibc

/// The lock's socket: a non-blocking Unix socket of sequenced packets under an abstract name, which exists once in each
/// network namespace (unix(7)).
struct LockSocket: Sendable {
    /// The result of a receive.
    enum Received {
        case message(LockMessage, [Descriptor])
        case unreadable(LockMessage.Unreadable)
        /// No message has arrived yet.
        case nothing
        /// The other end has closed the connection.
        case end
    }

    /// The maximum number of connections that wait to be accepted.
    private static let backlog: CInt = 8

    let descriptor: Descriptor

    /// Binds the name and listens. Returns nil if another socket has the name.
    static func listen(_ name: String) throws(LockSocketError) -> LockSocket? {
        let socket = try open()
        guard withAddress(name, { bind(socket.descriptor.number, $0, $1) }) == 0 else {
            guard errno == EADDRINUSE else { throw LockSocketError(operation: "binding", name: name, errno: errno) }
            return nil
        }
        try socket.listen(name)
        return socket
    }

    /// Connects to the socket with this name. Returns nil if none listens, it has no room, or this process may not
    /// connect.
    static func connect(_ name: String) throws(LockSocketError) -> LockSocket? {
        let socket = try open()
        guard withAddress(name, { Glibc.connect(socket.descriptor.number, $0, $1) }) == 0 else {
            let refusals = [ECONNREFUSED, EAGAIN, EACCES, EPERM]
            guard refusals.contains(errno) else {
                throw LockSocketError(operation: "connecting to", name: name, errno: errno)
            }
            return nil
        }
        return socket
    }

    /// Accepts the next connection; returns nil if none waits. Throws if it cannot be accepted because the process has
    /// no free descriptor.
    func accept() throws(LockSocketError) -> LockSocket? {
        let accepted = Glibc.accept(descriptor.number, nil, nil)
        guard accepted >= 0 else {
            if errno == EAGAIN || errno == EINTR || errno == ECONNABORTED { return nil }
            throw LockSocketError(operation: "accepting a connection on", name: "", errno: errno)
        }
        let socket = LockSocket(descriptor: Descriptor(owning: accepted))
        guard fcntl(accepted, F_SETFD, FD_CLOEXEC) == 0, fcntl(accepted, F_SETFL, O_NONBLOCK) == 0 else {
            throw LockSocketError(operation: "accepting a connection on", name: "", errno: errno)
        }
        return socket
    }

    /// Sends a message. Returns false if it cannot be sent now: the other end is gone or does not read.
    func send(_ message: LockMessage, _ descriptors: [Descriptor] = []) -> Bool {
        let bytes = message.bytes
        let numbers = descriptors.map(\.number)
        return withExtendedLifetime(descriptors) {
            kubenetmon_send_with_descriptors(descriptor.number, bytes, bytes.count, numbers, numbers.count) == 0
        }
    }

    /// Receives the next message. Descriptors that do not belong to a message are closed.
    func receive() -> Received {
        // One byte more than a message has, to detect longer ones.
        var bytes = [UInt8](repeating: 0, count: LockMessage.size + 1)
        var numbers = [CInt](repeating: -1, count: Int(KUBENETMON_MAXIMUM_DESCRIPTORS))
        var (count, isCut) = (0, CInt(0))
        let length = kubenetmon_receive_with_descriptors(
            descriptor.number, &bytes, bytes.count, &numbers, &count, &isCut)
        let descriptors = numbers.prefix(count).map(Descriptor.init(owning:))
        guard length >= 0 else { return errno == EAGAIN ? .nothing : .end }
        // An empty message looks the same as the end.
        guard length > 0 else { return .end }
        do throws(LockMessage.Unreadable) {
            let message = try LockMessage(bytes.prefix(length))
            guard isCut == 0, descriptors.count == message.kind.descriptors else { return .unreadable(.notAMessage) }
            return .message(message, descriptors)
        } catch {
            return .unreadable(error)
        }
    }

    /// Lets no more messages arrive; those that have arrived can still be received.
    func stopReceiving() { shutdown(descriptor.number, CInt(SHUT_RD)) }

    /// Returns whether this socket listens under this name.
    func isListening(as name: String) -> Bool {
        var (isListening, length) = (CInt(0), socklen_t(MemoryLayout<CInt>.size))
        guard getsockopt(descriptor.number, SOL_SOCKET, SO_ACCEPTCONN, &isListening, &length) == 0, isListening == 1
        else { return false }
        var address = sockaddr_un()
        var addressLength = socklen_t(MemoryLayout<sockaddr_un>.size)
        let result = withUnsafeMutableBytes(of: &address) { bytes in
            getsockname(
                descriptor.number, bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self), &addressLength)
        }
        guard result == 0 else { return false }
        return Self.withAddress(name) { expected, expectedLength in
            guard addressLength == expectedLength else { return false }
            return memcmp(&address, expected, Int(expectedLength)) == 0
        }
    }

    /// Starts listening. On a socket that another process has listened on, peers that connect from now on see this
    /// process.
    func listen(_ name: String) throws(LockSocketError) {
        guard Glibc.listen(descriptor.number, Self.backlog) == 0 else {
            throw LockSocketError(operation: "listening on", name: name, errno: errno)
        }
    }

    private static func open() throws(LockSocketError) -> LockSocket {
        let type = SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
        let number = socket(AF_UNIX, CInt(type), 0)
        guard number >= 0 else { throw LockSocketError(operation: "opening", name: "", errno: errno) }
        return LockSocket(descriptor: Descriptor(owning: number))
    }

    /// Calls `body` with the address of the abstract name, which has fewer than 107 bytes.
    private static func withAddress<Result>(
        _ name: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let offset = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2
        let nameBytes = name.utf8.prefix(MemoryLayout.size(ofValue: address.sun_path) - 1)
        withUnsafeMutableBytes(of: &address) { bytes in
            // The first byte stays 0, which makes the name abstract.
            UnsafeMutableRawBufferPointer(rebasing: bytes[(offset + 1)...]).copyBytes(from: nameBytes)
        }
        return withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(offset + 1 + nameBytes.count))
            }
        }
    }
}

/// A failed system call on the lock's socket.
public struct LockSocketError: Error, CustomStringConvertible {
    let operation: String
    let name: String
    let errno: CInt

    /// The operation and the error.
    public var description: String {
        "\(operation) the abstract Unix socket @\(name): \(String(cString: strerror(errno))) (errno \(errno))"
    }
}
