// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import TestSupport
import Testing

@Suite struct LabelSignatureTests {
    /// Labels that are present are always found; absent ones are rarely mistaken for present.
    @Test("a signature matches every selector whose labels are present, and rarely any other")
    func aSelectorIsMetWhereItsLabelsAreThere() {
        var random = SeededGenerator(seed: 1)
        var mistakes = 0
        for _ in 0..<10_000 {
            let labels = Dictionary(
                (0..<10).map { ("key-\($0)", "value-\(UInt16.random(in: 0...999, using: &random))") }
            ) { $1 }
            let signature = LabelSignature(labels)
            #expect(signature.meets(LabelSignature(labels.filter { _ in Bool.random(using: &random) })))
            if signature.meets(LabelSignature(["key-0": "other"])) { mistakes += 1 }
        }
        #expect(mistakes < 200)
        #expect(LabelSignature().isEmpty && !LabelSignature(["": ""]).isEmpty)
        // The boundary between key and value counts.
        #expect(LabelSignature(["a": "bc"]) != LabelSignature(["ab": "c"]))
    }
}
