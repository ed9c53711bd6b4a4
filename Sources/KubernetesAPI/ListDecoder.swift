// SPDX-License-Identifier: Apache-2.0

/// The metadata of a list.
package struct ListMetadata: Hashable, Sendable {
    /// The version of the cluster's state in the list, from which a watch continues.
    package var resourceVersion: String
    /// The token that requests the next page; nil on the last one.
    package var continueToken: String?
    /// The number of objects on later pages, if the server gives it.
    package var remainingItemCount: Int?

    /// Makes metadata from its parts.
    package init(resourceVersion: String, continueToken: String? = nil, remainingItemCount: Int? = nil) {
        self.resourceVersion = resourceVersion
        self.continueToken = continueToken
        self.remainingItemCount = remainingItemCount
    }
}

/// Decodes a list of objects, or a page of one, from the chunks of a response.
///
/// The body is `k8s\0` and a message `Unknown`, whose field `raw` holds the message `…List`: metadata and items. Its
/// length fields show where an object begins, so that only one object is held in memory at a time: a list may have
/// hundreds of megabytes.
package struct ListDecoder<Object: Sendable> {
    private var buffer = StreamBuffer()
    private var parser: ListParser<Object>

    /// Makes a decoder for one response.
    package init(_ resource: KubernetesResource<Object>) {
        parser = ListParser(resource: resource)
    }

    /// The objects so far that could not be read and were skipped.
    package var malformedObjects: Int { parser.malformedObjects }
    /// The addresses of objects so far that could not be read and were skipped.
    package var unreadableAddresses: Int { parser.unreadableAddresses }
    /// The last malformed object.
    package var lastMalformedObject: MalformedObject? { parser.lastMalformedObject }

    /// Decodes the next bytes of the body, split anywhere, and calls `body` with each object that they complete. After
    /// an error the decoder is unusable.
    package mutating func feed(
        _ bytes: UnsafeRawBufferPointer, _ body: (Object) -> Void
    ) throws(KubernetesDecodingError) {
        try buffer.feed(bytes, to: &parser, body)
    }

    /// Ends the list at the end of the response; throws if the list is incomplete.
    package func finish() throws(KubernetesDecodingError) -> ListMetadata {
        guard buffer.isEmpty, parser.isComplete else { throw .truncatedList }
        guard !parser.metadata.resourceVersion.isEmpty else { throw .malformed("the list has no resourceVersion") }
        return parser.metadata
    }
}
