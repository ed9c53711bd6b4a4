// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import Glibc

/// Picks out of a pod's labels what a ``PodLabelMapping`` asks for.
struct PodLabelReader: Sendable {
    /// What was found.
    struct Labels {
        var app = ""
        var instanceID = ""
        var cell = ""
        var kept: [String: String] = [:]
        var signature = LabelSignature()
    }

    /// What a key is good for: its place among the keys of each purpose.
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

    /// Takes a value if its key comes before the one that was found so far; an empty one says nothing.
    private static func take(_ value: String, _ place: Int?, _ best: inout Int?, _ result: inout String) {
        guard !value.isEmpty, let place, let found = best, place < found else { return }
        best = place
        result = value
    }
}

extension UnsafeRawBufferPointer {
    /// The bytes of a C string, its end apart; none where there is no string.
    fileprivate init(cString: UnsafePointer<CChar>?) {
        self.init(start: cString, count: cString.map { strlen($0) } ?? 0)
    }
}
