// SPDX-License-Identifier: Apache-2.0

/// What a list says of itself.
package struct ListMetadata: Hashable, Sendable {
    /// The version of the cluster's state that the list shows: where a watch goes on.
    package var resourceVersion: String
    /// What asks for the next page; nil on the last one.
    package var continueToken: String?
    /// How many objects are on the pages to come, if the server tells.
    package var remainingItemCount: Int?

    /// Makes metadata of its parts.
    package init(resourceVersion: String, continueToken: String? = nil, remainingItemCount: Int? = nil) {
        self.resourceVersion = resourceVersion
        self.continueToken = continueToken
        self.remainingItemCount = remainingItemCount
    }
}

/// Reads a list of objects, or a page of one, out of the chunks of a response.
///
/// The body is `k8s\0` and a message `Unknown`, whose field `raw` holds the message `…List`: metadata and items. Its
/// lengths tell where an object begins, so that no more of it than one object is held at a time, hundreds of megabytes
/// as it may have.
package struct ListDecoder<Object: Sendable> {
    private var buffer = StreamBuffer()
    private var parser: ListParser<Object>

    /// Makes a decoder for one response.
    package init(_ resource: KubernetesResource<Object>) {
        parser = ListParser(resource: resource)
    }

    /// The objects so far that could not be read and were passed over.
    package var malformedObjects: Int { parser.malformedObjects }
    /// The addresses of objects so far that could not be read and were passed over.
    package var unreadableAddresses: Int { parser.unreadableAddresses }
    /// The last of them.
    package var lastMalformedObject: MalformedObject? { parser.lastMalformedObject }

    /// Takes the next bytes of the body, cut anywhere, and calls `body` with each object that they complete. After a
    /// throw the decoder is of no more use.
    package mutating func feed(
        _ bytes: UnsafeRawBufferPointer, _ body: (Object) -> Void
    ) throws(KubernetesDecodingError) {
        try buffer.feed(bytes, to: &parser, body)
    }

    /// Ends the list when the response has ended; throws if the list has not.
    package func finish() throws(KubernetesDecodingError) -> ListMetadata {
        guard buffer.isEmpty, parser.isComplete else { throw .truncatedList }
        guard !parser.metadata.resourceVersion.isEmpty else { throw .malformed("the list has no resourceVersion") }
        return parser.metadata
    }
}
