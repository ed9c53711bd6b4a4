// SPDX-License-Identifier: Apache-2.0

/// The reason that one object of the API server cannot be read. It is skipped; other objects are unaffected.
package struct MalformedObject: Error, Hashable {
    /// A defect of an object.
    package enum Problem: Error, Hashable {
        /// The object has this many bytes, more than ``KubernetesLimits/objectLength``.
        case tooLong(Int)
        /// The object's bytes (this many) are not the expected protobuf message, or take too much memory when unpacked.
        case notAMessage(Int)
        /// This field is missing.
        case missing(field: String)
        /// This field is not UTF-8.
        case notUTF8(field: String)
    }

    /// The object's resource: `pods`.
    package var resource: String
    /// The object's namespace, as far as known; empty for a node.
    package var namespace: String
    /// The object's name, as far as known.
    package var name: String
    /// The object's defect.
    package var problem: Problem

    /// Makes an error from its parts.
    package init(resource: String, namespace: String = "", name: String = "", problem: Problem) {
        self.resource = resource
        self.namespace = namespace
        self.name = name
        self.problem = problem
    }
}

extension MalformedObject: CustomStringConvertible {
    /// The error for a log.
    package var description: String {
        let object = [resource, namespace, name].filter { !$0.isEmpty }.joined(separator: "/")
        return "\(object) cannot be read: \(problem)"
    }
}

extension MalformedObject.Problem: CustomStringConvertible {
    /// The problem for a log.
    package var description: String {
        switch self {
        case .tooLong(let length): "\(length) bytes, the limit is \(KubernetesLimits.objectLength)"
        case .notAMessage(let length): "its \(length) bytes are not the protobuf message that was expected"
        case .missing(let field): "\(field) is missing"
        case .notUTF8(let field): "\(field) is not UTF-8"
        }
    }
}
