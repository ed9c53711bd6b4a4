// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import Glibc

/// Selects the labels in a ``PodLabelMapping`` from those of a pod.
struct PodLabelReader: Sendable {
    /// The selected labels, and a digest of all labels.
    struct Labels {
        var columns: [Label: String] = [:]
        var kept: [String: String] = [:]
        var signature = LabelSignature()
    }

    /// The uses of a key: the columns that it fills, each with its position among the column's keys.
    private struct Purpose {
        var columns: [(label: Label, position: Int)] = []
        var isKept = false
    }

    private var purposes: [String: Purpose] = [:]

    init(_ mapping: PodLabelMapping) {
        for (label, keys) in mapping.keys {
            for (position, key) in keys.enumerated() where keys.firstIndex(of: key) == position {
                purposes[key, default: Purpose()].columns.append((label, position))
            }
        }
        for key in mapping.kept { purposes[key, default: Purpose()].isKept = true }
    }

    func read(_ metadata: ObjectMeta) throws(MalformedObject.Problem) -> Labels {
        var labels = Labels()
        var best = Label.Values(repeating: Int.max)
        try metadata.forEachLabel { label, text throws(MalformedObject.Problem) in
            labels.signature.insert(UnsafeRawBufferPointer(cString: label), UnsafeRawBufferPointer(cString: text))
            let key = String(cString: label)
            guard let purpose = purposes[key] else { return }
            let value = try String(text, field: "metadata.labels")
            if purpose.isKept { labels.kept[key] = value }
            guard !value.isEmpty else { return }
            for (label, position) in purpose.columns where position < best[label.rawValue] {
                best[label.rawValue] = position
                labels.columns[label] = value
            }
        }
        return labels
    }
}

extension UnsafeRawBufferPointer {
    /// The bytes of a C string without its terminator; empty for a null pointer.
    fileprivate init(cString: UnsafePointer<CChar>?) {
        self.init(start: cString, count: cString.map { strlen($0) } ?? 0)
    }
}
