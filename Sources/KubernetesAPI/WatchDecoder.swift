// SPDX-License-Identifier: Apache-2.0

/// Decodes the events of a watch from the chunks of its response.
///
/// The body is a sequence of frames, each a 4-byte big-endian length and a message `WatchEvent`, whose object is again
/// `k8s\0` and a message `Unknown`.
package struct WatchDecoder<Object: Sendable> {
    private var buffer = StreamBuffer()
    private var parser: WatchParser<Object>

    /// Makes a decoder for one response.
    package init(_ resource: KubernetesResource<Object>) {
        parser = WatchParser(resource: resource)
    }

    /// The objects so far that could not be read; their events were skipped.
    package var malformedObjects: Int { parser.malformedObjects }
    /// The addresses of objects so far that could not be read and were skipped.
    package var unreadableAddresses: Int { parser.unreadableAddresses }
    /// The last malformed object.
    package var lastMalformedObject: MalformedObject? { parser.lastMalformedObject }
    /// Whether the bytes so far end in the middle of a frame.
    package var isInMidFrame: Bool { !buffer.isEmpty }

    /// Decodes the next bytes of the body, split anywhere, and calls `body` with each event that they complete. Events
    /// of an unknown type are skipped. After an error the decoder is unusable.
    package mutating func feed(
        _ bytes: UnsafeRawBufferPointer, _ body: (WatchEvent<Object>) -> Void
    ) throws(KubernetesDecodingError) {
        try buffer.feed(bytes, to: &parser, body)
    }
}
