// SPDX-License-Identifier: Apache-2.0

import CKubernetesProto

/// An arena for one object unpacked by protobuf-c: its allocations are taken from a block and released all at once.
///
/// A pod needs some sixty allocations (its strings, its labels, a copy of all fields that the schema leaves out), none
/// of which is used once its record is made. A usual object fits the first block, and an object crafted to swell when
/// unpacked hits the limit.
final class ProtobufArena {
    /// The part of the arena that the C functions see.
    private struct Storage {
        var free: UnsafeMutableRawPointer
        var freeCount: Int
        /// Bytes that may still be allocated for this object.
        var budget: Int
        /// Blocks beyond the first.
        var blocks: [UnsafeMutableRawPointer] = []

        mutating func allocate(_ size: Int) -> UnsafeMutableRawPointer? {
            let size = max(size, 1).roundedUp(toMultipleOf: ProtobufArena.alignment)
            if size > freeCount {
                let blockSize = max(size, ProtobufArena.blockSize)
                guard blockSize <= budget else { return nil }
                budget -= blockSize
                free = .allocate(byteCount: blockSize, alignment: ProtobufArena.alignment)
                freeCount = blockSize
                blocks.append(free)
            }
            defer {
                free += size
                freeCount -= size
            }
            return free
        }
    }

    private static let alignment = 16
    private static let blockSize = 64 << 10

    private let limit: Int
    private let firstBlock: UnsafeMutableRawPointer
    private let storage: UnsafeMutablePointer<Storage>
    private let allocator: UnsafeMutablePointer<ProtobufCAllocator>

    /// Makes an arena that allocates at most `limit` bytes for one object, besides its first block.
    init(limit: Int) {
        self.limit = limit
        firstBlock = .allocate(byteCount: Self.blockSize, alignment: Self.alignment)
        storage = .allocate(capacity: 1)
        storage.initialize(to: Storage(free: firstBlock, freeCount: Self.blockSize, budget: limit))
        allocator = .allocate(capacity: 1)
        allocator.initialize(
            to: ProtobufCAllocator(
                alloc: { storage, size in storage?.assumingMemoryBound(to: Storage.self).pointee.allocate(size) },
                free: { _, _ in },
                allocator_data: storage))
    }

    deinit {
        reset()
        allocator.deallocate()
        storage.deinitialize(count: 1)
        storage.deallocate()
        firstBlock.deallocate()
    }

    /// Releases all memory; messages unpacked so far must not be used any more.
    func reset() {
        for block in storage.pointee.blocks { block.deallocate() }
        storage.pointee.blocks.removeAll()
        storage.pointee.free = firstBlock
        storage.pointee.freeCount = Self.blockSize
        storage.pointee.budget = limit
    }

    /// Unpacks a message with its `…__unpack` function; returns nil if it is malformed or exceeds the limit. The
    /// message is valid until the next ``reset()``.
    func unpack<Message>(
        _ bytes: UnsafeRawBufferPointer,
        _ unpack: (UnsafeMutablePointer<ProtobufCAllocator>?, Int, UnsafePointer<UInt8>?)
            -> UnsafeMutablePointer<Message>?
    ) -> UnsafePointer<Message>? {
        unpack(allocator, bytes.count, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)).map { UnsafePointer($0) }
    }
}

extension Int {
    fileprivate func roundedUp(toMultipleOf alignment: Int) -> Int { (self + alignment - 1) / alignment * alignment }
}
