// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// A label's value: a number that stands for a text in the process's ``LabelTable``.
public struct LabelID: Hashable, Sendable {
    /// The text's index in the table.
    public let number: UInt32

    /// The empty text.
    public static let empty = LabelID(number: 0)
}

/// The interned texts of all labels in use. A text is stored once for all labels and freed with the last of them.
public enum LabelTable {
    private struct Entry {
        var text: String
        var uses: Int32
    }

    private struct Storage {
        var entries = [Entry(text: "", uses: 1)]
        var numbers: [String: UInt32] = ["": 0]
        var free: [UInt32] = []
    }

    private static let storage = Mutex(Storage())

    /// The number of entries, free entries included: every ``LabelID/number`` is below it.
    public static var capacity: Int { storage.withLock { $0.entries.count } }

    /// Returns the texts of labels that are held.
    public static func texts(of labels: [LabelID]) -> [String] {
        storage.withLock { storage in labels.map { storage.entries[Int($0.number)].text } }
    }

    /// Returns the text of a label that is held.
    public static func text(of label: LabelID) -> String {
        storage.withLock { $0.entries[Int(label.number)].text }
    }

    /// Interns and holds a text; each call must be balanced by ``release(_:)``.
    static func hold(_ text: String) -> LabelID {
        guard !text.isEmpty else { return .empty }
        return storage.withLock { storage in
            if let number = storage.numbers[text] {
                storage.entries[Int(number)].uses += 1
                return LabelID(number: number)
            }
            let entry = Entry(text: text, uses: 1)
            let number: UInt32
            if let reused = storage.free.popLast() {
                number = reused
                storage.entries[Int(number)] = entry
            } else {
                number = UInt32(storage.entries.count)
                storage.entries.append(entry)
            }
            storage.numbers[text] = number
            return LabelID(number: number)
        }
    }

    /// Holds a label that is already held once more.
    static func holdAgain(_ label: LabelID) -> LabelID {
        if label != .empty { storage.withLock { $0.entries[Int(label.number)].uses += 1 } }
        return label
    }

    /// Releases a held label; the last release frees its text.
    static func release(_ label: LabelID) {
        guard label != .empty else { return }
        storage.withLock { storage in
            let index = Int(label.number)
            storage.entries[index].uses -= 1
            guard storage.entries[index].uses == 0 else { return }
            storage.numbers[storage.entries[index].text] = nil
            storage.entries[index].text = ""
            storage.free.append(label.number)
        }
    }
}
