// SPDX-License-Identifier: Apache-2.0

/// One message on the lock's socket: 144 bytes, of which the first nine are the same in every version.
///
/// | bytes | meaning |
/// |---|---|
/// | 0..<8 | `kubenmon` |
/// | 8 | version |
/// | 9 | kind |
/// | 10..<16 | 0 |
/// | 16..<144 | the sender's workload, printable ASCII, filled up with zeros |
struct LockMessage: Equatable, Sendable {
    enum Kind: UInt8, CaseIterable, Sendable {
        /// The sender has just started and wants to collect as soon as possible.
        case takeOver = 1
        /// The sender has handed over and collects again only when the holder leaves.
        case standBy
        /// The holder goes on; it will tell the sender of the request when it leaves.
        case wait
        /// The holder is about to leave: a grant follows once it has read its last event.
        case leaving
        /// The lock and the event socket, as descriptors.
        case grant
        /// The sender of the request has received both and is the holder from now on.
        case confirm

        /// The number of descriptors that travel with a message of this kind.
        var descriptors: Int {
            switch self {
            // A socket that receives the kernel's events, which takes CAP_NET_ADMIN to open.
            case .takeOver, .standBy: 1
            case .wait, .leaving, .confirm: 0
            case .grant: 2
            }
        }

        var isRequest: Bool { self == .takeOver || self == .standBy }
    }

    /// Why bytes are not a message of this version.
    enum Unreadable: Error, Equatable {
        case notAMessage
        case otherVersion(UInt8)
    }

    static let version: UInt8 = 1
    static let size = headerSize + maximumWorkloadBytes
    static let maximumWorkloadBytes = 128
    private static let headerSize = 16
    private static let magic = Array("kubenmon".utf8)

    let kind: Kind
    let workload: String

    /// Creates a message. The workload has at most ``maximumWorkloadBytes`` of printable ASCII.
    init(_ kind: Kind, workload: String) {
        self.kind = kind
        self.workload = workload
    }

    init(_ bytes: some Collection<UInt8>) throws(Unreadable) {
        guard bytes.count > Self.magic.count, bytes.starts(with: Self.magic) else { throw .notAMessage }
        let bytes = Array(bytes)
        guard bytes[8] == Self.version else { throw .otherVersion(bytes[8]) }
        let workload = bytes.dropFirst(Self.headerSize).prefix { $0 != 0 }
        guard bytes.count == Self.size, let kind = Kind(rawValue: bytes[9]), workload.allSatisfy(Self.isPrintable)
        else { throw .notAMessage }
        self.init(kind, workload: String(decoding: workload, as: UTF8.self))
    }

    var bytes: [UInt8] {
        var bytes = Self.magic + [Self.version, kind.rawValue]
        bytes.reserveCapacity(Self.size)
        bytes += repeatElement(0, count: Self.headerSize - bytes.count)
        bytes += workload.utf8.prefix(Self.maximumWorkloadBytes)
        return bytes + repeatElement(0, count: Self.size - bytes.count)
    }

    static func isPrintable(_ byte: UInt8) -> Bool { (0x21...0x7e).contains(byte) }
}
