// SPDX-License-Identifier: Apache-2.0

import CKubernetesProto
import FoundationEssentials

/// The API server's reason for rejecting a request or ending a watch.
package struct KubernetesStatus: Error, Hashable {
    /// The status code, as in HTTP: 410 for a version that is too old.
    package var code: Int
    /// The reason as one word: `Expired`, `Unauthorized`; empty if unknown.
    package var reason: String
    /// The reason for a human; empty if unknown.
    package var message: String
    /// The wait before the next request, in seconds, if the server gives one.
    package var retryAfterSeconds: Int?

    /// Makes a status from its parts.
    package init(code: Int, reason: String = "", message: String = "", retryAfterSeconds: Int? = nil) {
        self.code = code
        self.reason = reason
        self.message = message
        self.retryAfterSeconds = retryAfterSeconds
    }

    /// Reads the body of a rejection. The API server answers in protobuf, or in JSON if it fails before it considers
    /// the `Accept` header; a proxy in front of it answers with any text, of which the beginning is kept. The code is
    /// the body's if it has one, else that of the response.
    package init(code: Int, body: some Sequence<UInt8>) {
        let body = Array(body.prefix(Self.maximumBodyLength))
        if let status = Self.protobuf(body) ?? Self.json(body) {
            self = status
            if self.code == 0 { self.code = code }
        } else {
            let text = String(decoding: body.prefix(Self.maximumTextLength), as: UTF8.self)
            self.init(code: code, message: text.split(whereSeparator: \.isWhitespace).joined(separator: " "))
        }
    }

    /// Reads the object of a watch's error event; returns nil if it is not a status.
    init?(message bytes: UnsafeRawBufferPointer, _ arena: ProtobufArena) {
        guard let status = arena.unpack(bytes, kubenetmon__kubernetes__status__unpack)?.pointee else { return nil }
        self.init(
            code: Int(status.code), reason: status.reason.map { String(cString: $0) } ?? "",
            message: status.message.map { String(cString: $0) } ?? "")
        if let seconds = status.details?.pointee.retry_after_seconds, seconds > 0 { retryAfterSeconds = Int(seconds) }
    }

    private static let maximumBodyLength = 64 << 10
    private static let maximumTextLength = 256

    private static func protobuf(_ body: [UInt8]) -> KubernetesStatus? {
        body.withUnsafeBytes { bytes in
            let arena = ProtobufArena(limit: KubernetesLimits.unpackedLength)
            guard let message = try? KubernetesEnvelope.unwrap(bytes, arena) else { return nil }
            return KubernetesStatus(message: message, arena)
        }
    }

    private static func json(_ body: [UInt8]) -> KubernetesStatus? {
        struct Status: Decodable {
            struct Details: Decodable { let retryAfterSeconds: Int? }
            let code: Int?
            let reason: String?
            let message: String?
            let details: Details?
        }
        guard body.first == UInt8(ascii: "{") else { return nil }
        guard let status = try? JSONDecoder().decode(Status.self, from: Data(body)) else { return nil }
        return KubernetesStatus(
            code: status.code ?? 0, reason: status.reason ?? "", message: status.message ?? "",
            retryAfterSeconds: status.details?.retryAfterSeconds.flatMap { $0 > 0 ? $0 : nil })
    }
}

extension KubernetesStatus: CustomStringConvertible {
    /// The status for a log: `410 Expired: too old resource version`.
    package var description: String {
        let head = [String(code), reason].filter { !$0.isEmpty }.joined(separator: " ")
        return message.isEmpty || message == reason ? head : "\(head): \(message)"
    }
}
