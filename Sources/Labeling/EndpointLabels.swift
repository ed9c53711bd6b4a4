// SPDX-License-Identifier: Apache-2.0

public import ClusterModel

/// The labels of one end of a flow.
///
/// One object serves all flows of an endpoint. Rows refer to the object by its identity and to its texts by their
/// numbers, so that a text is accessed once for each distinct value and block, not once for each flow.
public final class EndpointLabels: Sendable {
    /// The value of labels that cannot be known.
    public static let unknown = "UNKNOWN"

    /// The connection flags whose conditions on pod labels this end meets.
    let flags: ConnectionFlags
    private let values: Label.Values<LabelID>

    /// Makes labels of their texts. A label without a text is empty, but the cluster is ``unknown``.
    public convenience init(_ texts: KeyValuePairs<Label, String> = [:]) { self.init(texts, flags: []) }

    /// Makes labels of their texts and of those that a pod carries (``Pod/columnLabels``).
    init(_ texts: KeyValuePairs<Label, String>, ofPod columnLabels: [Label: String] = [:], flags: ConnectionFlags) {
        var values = Label.Values(repeating: LabelID.empty)
        precondition(
            values.count == Label.allCases.count,
            "Label.Values has \(values.count) places for \(Label.allCases.count) labels")
        func set(_ label: Label, _ text: String) {
            LabelTable.release(values[label.rawValue])
            values[label.rawValue] = LabelTable.hold(text)
        }
        for (label, text) in texts { set(label, text) }
        for (label, text) in columnLabels { set(label, text) }
        if !texts.contains(where: { $0.key == .cluster }) { set(.cluster, Self.unknown) }
        self.flags = flags
        self.values = values
    }

    private init(flags: ConnectionFlags, _ values: Label.Values<LabelID>) {
        self.flags = flags
        self.values = values
    }

    deinit {
        for label in Label.allCases { LabelTable.release(id(of: label)) }
    }

    /// Returns the number of a label's text, valid as long as the object lives.
    public func id(of label: Label) -> LabelID { values[label.rawValue] }

    /// A label's text.
    public subscript(label: Label) -> String { LabelTable.text(of: id(of: label)) }

    /// Returns the same labels with another text for `label`.
    func replacing(_ label: Label, with text: String) -> EndpointLabels {
        let values: Label.Values<LabelID> = InlineArray { index in
            index == label.rawValue ? LabelTable.hold(text) : LabelTable.holdAgain(self.values[index])
        }
        return EndpointLabels(flags: flags, values)
    }

    func hasSameValues(as other: EndpointLabels) -> Bool {
        flags == other.flags && Label.allCases.allSatisfy { id(of: $0) == other.id(of: $0) }
    }
}

/// An unretained reference to labels. Its source states how long it is valid.
public struct LabelsReference: Hashable, Sendable {
    private let unmanaged: UnmanagedLabels

    /// `Unmanaged` is not Sendable; what it points to is.
    private struct UnmanagedLabels: @unchecked Sendable, Hashable {
        let value: Unmanaged<EndpointLabels>

        static func == (left: Self, right: Self) -> Bool { left.value.toOpaque() == right.value.toOpaque() }
        func hash(into hasher: inout Hasher) { hasher.combine(value.toOpaque()) }
    }

    /// Makes a reference to labels that the caller retains.
    public init(_ labels: EndpointLabels) {
        unmanaged = UnmanagedLabels(value: .passUnretained(labels))
    }

    /// The labels' address in memory, which is unique among live labels.
    public var identity: UInt { UInt(bitPattern: unmanaged.value.toOpaque()) }

    /// The labels, retained.
    public var labels: EndpointLabels { unmanaged.value.takeUnretainedValue() }

    var flags: ConnectionFlags { unmanaged.value._withUnsafeGuaranteedRef { $0.flags } }
}
