// SPDX-License-Identifier: Apache-2.0

/// All that distinguishes a ``Label`` from others.
public struct LabelDefinition: Sendable {
    /// The origin of a label's texts.
    public enum Source: Hashable, Sendable {
        /// The labeler, which determines it from the server's site, the cluster's objects and the ranges.
        case labeler
        /// A label of the pod: the first that the pod has, with a value, of the keys in the setting
        /// `pod_labels.<setting>`. In inventory files, the value is that of the pod's key `<setting>`.
        case podLabel(setting: String, defaultKeys: [String])
        /// The service whose address was dialled, instead of the end itself.
        case dialledService
    }

    /// The content of a label's columns, in the words of docs/columns.md.
    package enum Meaning: Sendable {
        /// That of the columns of both ends.
        case both(String)
        /// That of the column of each end.
        case each(local: String, remote: String)
        /// That of the remote end's column; there is none for the local end.
        case remoteOnly(String)
    }

    /// The columns' name after `local` or `remote`.
    public let column: String
    /// The origin of the label's texts.
    public let source: Source
    /// The content of the columns.
    package let meaning: Meaning
    /// The file in deploy/clickhouse, without `.sql`, that adds the columns; nil for columns of the original table. New
    /// columns belong in `002_extended_columns`, which adds what a table lacks: it sets the sorting key, so it would
    /// undo a later file that extends the key whenever it is applied again.
    public let migration: String?

    /// Whether there is a column for the local end; there is always one for the remote end.
    public var hasLocalColumn: Bool { if case .remoteOnly = meaning { false } else { true } }

    /// Makes a definition of its parts.
    package init(column: String, source: Source = .labeler, meaning: Meaning, migration: String? = nil) {
        self.column = column
        self.source = source
        self.meaning = meaning
        self.migration = migration
    }
}
