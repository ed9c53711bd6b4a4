// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import Labeling

/// The distinct texts of each label among a block's endpoints. Each text is read once per label and block, each
/// endpoint once per block, in memory that is reused for each block.
struct LabelDictionaries: Sendable {
    /// The distinct texts of a label, and each endpoint's index among them.
    struct Dictionary: Sendable {
        fileprivate(set) var keys = NativeKeys([])
        fileprivate(set) var indexes: [UInt32] = []
    }

    private var endpoints = 0
    /// The numbers of all endpoints' texts, label by label.
    private var ids: [LabelID] = []
    private var dictionaries = [Dictionary?](repeating: nil, count: Label.allCases.count)
    /// Indices of texts among a label's keys, by text number; all are `.max` between two labels.
    private var places: [UInt32] = []

    /// Loads the labels of a block's endpoints, which the caller must retain until ``removeAll()``.
    mutating func load(_ endpoints: [EndpointLabels]) {
        removeAll()
        self.endpoints = endpoints.count
        let missing = endpoints.count * Label.allCases.count - ids.count
        if missing > 0 { ids.append(contentsOf: repeatElement(.empty, count: missing)) }
        for (place, endpoint) in endpoints.enumerated() {
            for label in Label.allCases {
                ids[label.rawValue * endpoints.count + place] = endpoint.id(of: label)
            }
        }
        let unknown = LabelTable.capacity - places.count
        if unknown > 0 { places.append(contentsOf: repeatElement(.max, count: unknown)) }
    }

    /// Returns the distinct texts of a label.
    mutating func dictionary(of label: Label) -> Dictionary {
        if let known = dictionaries[label.rawValue] { return known }
        var dictionary = Dictionary()
        var keys: [LabelID] = []
        dictionary.indexes.reserveCapacity(endpoints)
        for id in ids[label.rawValue * endpoints..<(label.rawValue + 1) * endpoints] {
            if places[Int(id.number)] == .max {
                places[Int(id.number)] = UInt32(keys.count)
                keys.append(id)
            }
            dictionary.indexes.append(places[Int(id.number)])
        }
        for key in keys { places[Int(key.number)] = .max }
        dictionary.keys = NativeKeys(LabelTable.texts(of: keys))
        dictionaries[label.rawValue] = dictionary
        return dictionary
    }

    /// Removes the block's texts.
    mutating func removeAll() {
        for label in Label.allCases { dictionaries[label.rawValue] = nil }
    }
}
