// SPDX-License-Identifier: Apache-2.0

public import ClusterModel
public import DocumentTree
import YAMLParsing

/// The format of an inventory file:
///
/// ```yaml
/// nodes:
///   - name: node-a
///     addresses: [172.18.0.2]
///     zone: eu-central-1a          # optional
/// pods:
///   - namespace: shop
///     name: web-1
///     node: node-a                 # one of the nodes above
///     addresses: [10.244.1.10, "fd00:244:1::10"]
///     host_network: false          # optional, as are all below
///     app: web                     # a key for each of `Label.ofPodLabels`
///     instance_id: blue
///     cell: cell-1
/// ranges:
///   - name: s3-frankfurt           # name in error messages
///     cidrs: [198.51.100.0/24]
///     cloud: aws
///     region: eu-central-1         # optional
///     availability_zone: eu-central-1a   # optional
///     service: s3                  # optional
/// ```
///
/// Each of the three lists may be absent.
extension Inventory {
    /// Reads an inventory from a file, a pipe or a terminal; throws all problems of the file at once.
    public init(contentsOf path: String) throws(DocumentProblems) {
        try self.init(Document(contentsOf: path, acceptsStreams: true))
    }

    /// Reads an inventory from a text, whose problems name `file` as their origin; throws all of them at once.
    public init(text: String, file: String) throws(DocumentProblems) {
        try self.init(Document(text: text, file: file))
    }

    private init(_ document: Document) throws(DocumentProblems) {
        self = try document.read { root in
            var reader = InventoryReader()
            return reader.inventory(&root)
        }
    }
}
