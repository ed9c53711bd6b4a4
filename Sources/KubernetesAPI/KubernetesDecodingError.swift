// SPDX-License-Identifier: Apache-2.0

/// The reason that a response of the API server cannot be read further: its bytes are malformed or end too early.
package enum KubernetesDecodingError: Error, Hashable {
    /// The body begins with these bytes instead of `k8s\0`.
    case notKubernetesProtobuf([UInt8])
    /// The response violates the format in this way.
    case malformed(String)
    /// A part announces this length in bytes, which exceeds the limit.
    case tooLong(part: String, length: UInt64, limit: Int)
    /// The body ended in the middle of a list.
    case truncatedList
}

extension KubernetesDecodingError: CustomStringConvertible {
    /// The error for a log.
    package var description: String {
        switch self {
        case .notKubernetesProtobuf(let prefix):
            "the response is not Kubernetes protobuf; it begins with "
                + String(decoding: prefix, as: UTF8.self).debugDescription
        case .malformed(let what): "the response is malformed: \(what)"
        case .tooLong(let part, let length, let limit):
            "the response is malformed: \(part) announces \(length) bytes, the limit is \(limit)"
        case .truncatedList: "the response ended in the middle of the list"
        }
    }
}
