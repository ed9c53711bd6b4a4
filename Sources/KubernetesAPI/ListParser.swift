// SPDX-License-Identifier: Apache-2.0

import CKubernetesProto

/// Parses a list from the magic at its front to its last field.
struct ListParser<Object: Sendable>: StreamParser {
    private(set) var metadata = ListMetadata(resourceVersion: "")
    private(set) var malformedObjects = 0
    private(set) var unreadableAddresses = 0
    private(set) var lastMalformedObject: MalformedObject?

    private let resource: KubernetesResource<Object>
    private let arena = ProtobufArena(limit: KubernetesLimits.unpackedLength)
    private var hasMagic = false
    private var hasList = false
    /// Bytes of the list that are still to come.
    private var listLeft = 0
    /// Bytes of an ignored field that are still to come.
    private var skipLeft = 0

    init(resource: KubernetesResource<Object>) { self.resource = resource }

    /// Whether the body may end here.
    var isComplete: Bool { hasList && listLeft == 0 && skipLeft == 0 }

    mutating func parse(
        _ bytes: UnsafeRawBufferPointer, _ body: (Object) -> Void
    ) throws(KubernetesDecodingError) -> StreamStep {
        if skipLeft > 0 {
            let skipped = min(skipLeft, bytes.count)
            skipLeft -= skipped
            return .consumed(skipped)
        }
        if !hasMagic { return try magic(bytes) }
        guard let field = try ProtobufField(bytes) else { return .needs(bytes.count + 1) }
        return listLeft > 0 ? try listField(field, bytes, body) : try envelopeField(field)
    }

    private mutating func magic(_ bytes: UnsafeRawBufferPointer) throws(KubernetesDecodingError) -> StreamStep {
        guard bytes.count >= KubernetesEnvelope.magic.count else { return .needs(KubernetesEnvelope.magic.count) }
        guard KubernetesEnvelope.begins(bytes) else { throw .notKubernetesProtobuf(Array(bytes.prefix(16))) }
        hasMagic = true
        return .consumed(KubernetesEnvelope.magic.count)
    }

    /// Handles a field of `Unknown`.
    private mutating func envelopeField(_ field: ProtobufField) throws(KubernetesDecodingError) -> StreamStep {
        if field.number == 2, field.isLengthDelimited {
            guard !hasList else { throw .malformed("it contains a second list") }
            hasList = true
            listLeft = field.contentLength
        } else {
            skipLeft = field.contentLength
        }
        return .consumed(field.headerLength)
    }

    /// Handles a field of the list itself.
    private mutating func listField(
        _ field: ProtobufField, _ bytes: UnsafeRawBufferPointer, _ body: (Object) -> Void
    ) throws(KubernetesDecodingError) -> StreamStep {
        guard field.length <= listLeft else { throw .malformed("a field extends past the end of its list") }
        switch (field.number, field.isLengthDelimited) {
        case (1, true):
            guard field.contentLength <= KubernetesLimits.listMetadataLength else {
                throw .tooLong(
                    part: "the list's metadata", length: UInt64(field.contentLength),
                    limit: KubernetesLimits.listMetadataLength)
            }
        case (2, true) where field.contentLength <= KubernetesLimits.objectLength:
            break
        case (2, true):
            note(MalformedObject(resource: resource.name, problem: .tooLong(field.contentLength)))
            fallthrough
        default:
            listLeft -= field.length
            skipLeft = field.contentLength
            return .consumed(field.headerLength)
        }
        guard bytes.count >= field.length else { return .needs(field.length) }
        let content = UnsafeRawBufferPointer(rebasing: bytes[field.headerLength..<field.length])
        arena.reset()
        if field.number == 1 {
            try readMetadata(content)
        } else {
            readObject(content, body)
        }
        listLeft -= field.length
        return .consumed(field.length)
    }

    private mutating func readMetadata(_ bytes: UnsafeRawBufferPointer) throws(KubernetesDecodingError) {
        guard let message = arena.unpack(bytes, kubenetmon__kubernetes__list_meta__unpack) else {
            throw .malformed("the list's metadata is not a message")
        }
        if let version = message.pointee.resource_version { metadata.resourceVersion = String(cString: version) }
        if let token = message.pointee.continue_token {
            metadata.continueToken = token.pointee == 0 ? nil : String(cString: token)
        }
        if message.pointee.has_remaining_item_count != 0 {
            metadata.remainingItemCount = Int(message.pointee.remaining_item_count)
        }
    }

    private mutating func readObject(_ bytes: UnsafeRawBufferPointer, _ body: (Object) -> Void) {
        do throws(MalformedObject) {
            let decoded = try resource.decode(bytes, arena)
            unreadableAddresses += decoded.unreadableAddresses
            body(decoded.object)
        } catch {
            note(error)
        }
    }

    private mutating func note(_ object: MalformedObject) {
        malformedObjects += 1
        lastMalformedObject = object
    }
}
