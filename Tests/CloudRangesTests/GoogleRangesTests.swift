// SPDX-License-Identifier: Apache-2.0

import CloudRanges
import Testing

@Suite struct GoogleRangesTests {
    @Test("the scope of a prefix in cloud.json is its region") func aScopeIsARegion() throws {
        let list = try RangeList(TestLists.googleCloud, of: .gcp)
        #expect(
            list.lines == [
                "34.1.208.0/20 gcp africa-south1 googlecloud", "34.8.0.0/16 gcp global googlecloud",
                "2600:1900:8000::/44 gcp africa-south1 googlecloud",
            ])
        #expect(list.regions == ["africa-south1"])
    }

    @Test("prefixes of goog.json are global") func whatIsGooglesAloneIsInNoRegion() throws {
        let list = try RangeList(TestLists.google, of: .google)
        #expect(
            list.lines == [
                "8.8.8.0/24 gcp global googleservice", "34.1.208.0/20 gcp global googleservice",
                "2001:4860::/32 gcp global googleservice",
            ])
        #expect(list.regions == [])
    }

    @Test("goog.json is rejected in place of cloud.json") func theListOfAllAddressesIsNotThatOfTheRegions() {
        // If goog.json were accepted in place of cloud.json, every region would be lost.
        #expect(throws: RangeListError.mostlyUnreadable(skipped: 3, read: 0)) {
            try RangeList(TestLists.google, of: .gcp)
        }
    }
}
