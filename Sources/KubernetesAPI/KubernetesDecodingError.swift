// SPDX-License-Identifier: Apache-2.0

/// Why a response of the API server cannot be read on: its bytes have lost their meaning, or have ended too early.
package enum KubernetesDecodingError: Error, Hashable {
    /// The body does not begin with `k8s\0`, but so.
    case notKubernetesProtobuf([UInt8])
    /// What does not hold.
    case malformed(String)
    /// A part announces this many bytes.
    case tooLong(part: String, length: UInt64, limit: Int)
    /// The body ended in the middle of a list.
    case truncatedList
}

extension KubernetesDecodingError: CustomStringConvertible {
    /// The error for a log.
    package var description: String {
        switch self {
        case .notKubernetesProtobuf(let prefix):
            "the response is not Kubernetes' protobuf, it begins with "
                + String(decoding: prefix, as: UTF8.self).debugDescription
        case .malformed(let what): "the response is malformed: \(what)"
        case .tooLong(let part, let length, let limit):
            "the response is malformed: \(part) announces \(length) bytes, the limit is \(limit)"
        case .truncatedList: "the response ended in the middle of the list"
        }
    }
}
