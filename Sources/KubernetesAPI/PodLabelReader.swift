// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import Glibc

/// Selects the labels in a ``PodLabelMapping`` from those of a pod.
struct PodLabelReader: Sendable {
    /// The selected labels, and a digest of all labels.
    struct Labels {
        var app = ""
        var instanceID = ""
        var cell = ""
        var kept: [String: String] = [:]
        var signature = LabelSignature()
    }

    /// The uses of a key: its position among the keys of each field.
    private struct Purpose {
        var app: Int?
        var instanceID: Int?
        var cell: Int?
        var isKept = false
    }

    private var purposes: [String: Purpose] = [:]

    init(_ mapping: PodLabelMapping) {
        for (place, key) in mapping.app.enumerated() where purposes[key]?.app == nil {
            purposes[key, default: Purpose()].app = place
        }
        for (place, key) in mapping.instanceID.enumerated() where purposes[key]?.instanceID == nil {
            purposes[key, default: Purpose()].instanceID = place
        }
        for (place, key) in mapping.cell.enumerated() where purposes[key]?.cell == nil {
            purposes[key, default: Purpose()].cell = place
        }
        for key in mapping.kept { purposes[key, default: Purpose()].isKept = true }
    }

    func read(_ metadata: ObjectMeta) throws(MalformedObject.Problem) -> Labels {
        var labels = Labels()
        var best = Purpose(app: .max, instanceID: .max, cell: .max)
        try metadata.forEachLabel { label, text throws(MalformedObject.Problem) in
            labels.signature.insert(UnsafeRawBufferPointer(cString: label), UnsafeRawBufferPointer(cString: text))
            let key = String(cString: label)
            guard let purpose = purposes[key] else { return }
            let value = try String(text, field: "metadata.labels")
            Self.take(value, purpose.app, &best.app, &labels.app)
            Self.take(value, purpose.instanceID, &best.instanceID, &labels.instanceID)
            Self.take(value, purpose.cell, &best.cell, &labels.cell)
            if purpose.isKept { labels.kept[key] = value }
        }
        return labels
    }

    /// Takes a value if its key precedes the best one found so far; empty values are ignored.
    private static func take(_ value: String, _ place: Int?, _ best: inout Int?, _ result: inout String) {
        guard !value.isEmpty, let place, let found = best, place < found else { return }
        best = place
        result = value
    }
}

extension UnsafeRawBufferPointer {
    /// The bytes of a C string without its terminator; empty for a null pointer.
    fileprivate init(cString: UnsafePointer<CChar>?) {
        self.init(start: cString, count: cString.map { strlen($0) } ?? 0)
    }
}
