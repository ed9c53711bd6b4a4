// SPDX-License-Identifier: Apache-2.0

import CKubernetesProto

/// The envelope of every body and every watched object: `k8s\0` and a message `Unknown` (apimachinery,
/// `serializer/protobuf`).
enum KubernetesEnvelope {
    static let magic: [UInt8] = [0x6b, 0x38, 0x73, 0x00]

    /// Whether the bytes begin with the magic.
    static func begins(_ bytes: UnsafeRawBufferPointer) -> Bool { bytes.starts(with: magic) }

    /// Returns the message inside, which lives in the arena.
    static func unwrap(
        _ bytes: UnsafeRawBufferPointer, _ arena: ProtobufArena
    ) throws(KubernetesDecodingError) -> UnsafeRawBufferPointer {
        guard begins(bytes) else { throw .notKubernetesProtobuf(Array(bytes.prefix(16))) }
        let envelope = UnsafeRawBufferPointer(rebasing: bytes.dropFirst(magic.count))
        guard let unknown = arena.unpack(envelope, kubenetmon__kubernetes__unknown__unpack) else {
            throw .malformed("\(envelope.count) bytes after the magic number are not a message")
        }
        return UnsafeRawBufferPointer(start: unknown.pointee.raw.data, count: unknown.pointee.raw.len)
    }
}
