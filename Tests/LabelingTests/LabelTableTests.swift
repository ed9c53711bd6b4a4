// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Labeling

@Suite struct LabelTableTests {
    @Test("a text has one number for as long as it is in use") func aTextHasOneNumberAsLongAsSomebodyHoldsIt() {
        let first = EndpointLabels([.pod: "only here", .app: "only here"])
        let second = EndpointLabels([.namespace: "only here"])
        #expect(first.id(of: .pod) == first.id(of: .app) && first.id(of: .pod) == second.id(of: .namespace))
        #expect(first.id(of: .pod) != first.id(of: .cluster))
        #expect(first.id(of: .node) == .empty && first[.node] == "")
        #expect(LabelTable.texts(of: [second.id(of: .namespace), .empty]) == ["only here", ""])
    }

    @Test("numbers of unused texts are reused") func whatNobodyHoldsMakesRoom() {
        let before = LabelTable.capacity
        for number in 0..<10_000 {
            let labels = EndpointLabels([.pod: "passing-\(number)"])
            #expect(labels[.pod] == "passing-\(number)")
        }
        #expect(LabelTable.capacity < before + 5000)
    }

    @Test("one label of an endpoint can be replaced") func oneTextCanBeReplaced() {
        let labels = EndpointLabels([.cloud: "aws", .availabilityZone: "a", .pod: "web"])
        let moved = labels.replacing(.availabilityZone, with: "b")
        #expect(moved[.availabilityZone] == "b" && moved[.pod] == "web" && moved[.cloud] == "aws")
        #expect(!moved.hasSameValues(as: labels))
        #expect(moved.replacing(.availabilityZone, with: "a").hasSameValues(as: labels))
    }
}
