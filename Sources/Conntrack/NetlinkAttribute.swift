// SPDX-License-Identifier: Apache-2.0

/// One attribute of a netlink message: `struct nlattr` and its payload (include/uapi/linux/netlink.h).
struct NetlinkAttribute {
    /// The attribute's type without the flags `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
    let type: Int
    /// The attribute with its header, in wire format.
    let bytes: UnsafeRawBufferPointer

    /// The bytes after the header.
    var payload: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[4...]) }

    /// The attributes nested in this one.
    var nested: NetlinkAttributes { NetlinkAttributes(payload) }

    /// Returns the payload as a number in network byte order; nil if the payload has another size.
    @inline(__always)
    func number<Integer: FixedWidthInteger & BitwiseCopyable>(as type: Integer.Type) -> Integer? {
        guard payload.count == MemoryLayout<Integer>.size else { return nil }
        return Integer(bigEndian: payload.loadUnaligned(as: Integer.self))
    }
}

/// An iterator over a run of attributes. It ends after the last one, or at the first whose length points outside the
/// run; in that case ``isMalformed`` is true.
struct NetlinkAttributes {
    private var rest: UnsafeRawBufferPointer
    private(set) var isMalformed = false

    init(_ bytes: UnsafeRawBufferPointer) { rest = bytes }

    @inline(__always)
    mutating func next() -> NetlinkAttribute? {
        guard rest.count > 0 else { return nil }
        guard rest.count >= 4 else { return fail() }
        let length = Int(rest.loadUnaligned(as: UInt16.self))
        guard length >= 4, length <= rest.count else { return fail() }
        let type = Int(rest.loadUnaligned(fromByteOffset: 2, as: UInt16.self) & 0x3fff)
        let bytes = UnsafeRawBufferPointer(rebasing: rest[..<length])
        rest = UnsafeRawBufferPointer(rebasing: rest[min(rest.count, netlinkAligned(length))...])
        return NetlinkAttribute(type: type, bytes: bytes)
    }

    private mutating func fail() -> NetlinkAttribute? {
        isMalformed = true
        rest = UnsafeRawBufferPointer(start: nil, count: 0)
        return nil
    }
}
