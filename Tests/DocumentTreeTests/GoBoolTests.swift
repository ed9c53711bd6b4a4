// SPDX-License-Identifier: Apache-2.0

import DocumentTree
import Testing

@Suite struct GoBoolTests {
    @Test("Go's twelve spellings of booleans are accepted, and no others")
    func theTwelveWordsOfGoAreReadAndNoOther() {
        for text in ["1", "t", "T", "TRUE", "true", "True"] { #expect(Bool(goBool: text) == true, "\(text)") }
        for text in ["0", "f", "F", "FALSE", "false", "False"] { #expect(Bool(goBool: text) == false, "\(text)") }
        for text in ["", "yes", "no", "on", "off", "tRUE", "2", "00", " true", "true "] {
            #expect(Bool(goBool: text) == nil, "\(text)")
        }
    }
}
