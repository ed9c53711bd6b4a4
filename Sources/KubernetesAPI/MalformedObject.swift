// SPDX-License-Identifier: Apache-2.0

/// Why one object of the API server cannot be read. It is passed over; the objects around it are not touched by that.
package struct MalformedObject: Error, Hashable {
    /// What is wrong with an object.
    package enum Problem: Error, Hashable {
        /// It has this many bytes, more than ``KubernetesLimits/objectLength``.
        case tooLong(Int)
        /// Its bytes, so many, are not the protobuf message that was expected, or take too much memory.
        case notAMessage(Int)
        /// This field is missing.
        case missing(field: String)
        /// This field is not UTF-8.
        case notUTF8(field: String)
    }

    /// The resource that it is one of: `pods`.
    package var resource: String
    /// Its namespace, as far as known; empty for a node.
    package var namespace: String
    /// Its name, as far as known.
    package var name: String
    /// What is wrong.
    package var problem: Problem

    /// Makes an error of its parts.
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
