// SPDX-License-Identifier: Apache-2.0

import CloudRanges
import Testing

@Suite struct AzureRangesTests {
    @Test("a regional tag determines the region, whatever its spelling")
    func aRegionalTagGivesItsRegionWhateverTheSpelling() throws {
        // The first named tag gives the service, in the provider's spelling; the other one gives the region.
        let list = try RangeList(
            TestLists.azure(
                ("AzureSQL", "", "AzureSQL", ["192.0.2.0/24"]),
                ("Sql.WestEurope", "West Europe", "AzureSQL", ["192.0.2.0/24"])), of: .azure)
        #expect(list.lines == ["192.0.2.0/24 azure westeurope azuresql"])
        #expect(list.regions == ["westeurope"])
    }

    @Test("a region wins over none, in any order of tags", arguments: [true, false])
    func aRegionCountsInAnyOrder(isRegionalFirst: Bool) throws {
        let tags = [
            ("AzureMonitor.eastus", "eastus", "AzureMonitor", ["192.0.2.0/24"]),
            ("AzureMonitor", "", "AzureMonitor", ["192.0.2.0/24"]),
        ]
        let (first, second) = isRegionalFirst ? (tags[0], tags[1]) : (tags[1], tags[0])
        #expect(
            try RangeList(TestLists.azure(first, second), of: .azure).lines
                == ["192.0.2.0/24 azure eastus azuremonitor"])
    }

    @Test("a tag with a service keeps the region of a tag without one")
    func anUnnamedTagsRegionIsKeptByANamedService() throws {
        let list = try RangeList(
            TestLists.azure(
                ("AzureCloud.eastus", "eastus", "", ["192.0.2.0/24"]),
                ("PowerBI", "", "PowerBI", ["192.0.2.0/24"])), of: .azure)
        #expect(list.lines == ["192.0.2.0/24 azure eastus powerbi"])
    }

    @Test("AzureStorage and its region win over other tags") func storageBeatsAllAndItsRegionToo() throws {
        let list = try RangeList(
            TestLists.azure(
                ("AzureSQL.eastus", "eastus", "AzureSQL", ["192.0.2.0/24"]),
                ("Storage.westus", "westus", "AzureStorage", ["192.0.2.0/24"]),
                ("AzureBackup.northeurope", "northeurope", "AzureBackup", ["192.0.2.0/24"])), of: .azure)
        #expect(list.lines == ["192.0.2.0/24 azure westus azurestorage"])
    }

    @Test("of several tags with a service, the first counts") func ofNamedServicesTheFirstCounts() throws {
        let list = try RangeList(
            TestLists.azure(
                ("AzureCloud", "", "", ["192.0.2.0/24"]), ("B", "", "AzureAD", ["192.0.2.0/24"]),
                ("A", "", "AzureIdentity", ["192.0.2.0/24"])), of: .azure)
        #expect(list.lines == ["192.0.2.0/24 azure global azuread"])
    }

    @Test("a tag without a service is labelled azurecloud or azureservice")
    func aTagWithoutAServiceIsTheCloudOrSomeService() throws {
        let list = try RangeList(
            TestLists.azure(
                ("AZURECLOUD.uksouth", "uksouth", "", ["192.0.2.0/25"]),
                ("AzureFrontDoor.Frontend", "", "", ["192.0.2.128/25"])), of: .azure)
        #expect(list.lines == ["192.0.2.0/25 azure uksouth azurecloud", "192.0.2.128/25 azure global azureservice"])
    }

    @Test("a prefix without a region takes that of the prefix around it")
    func aPrefixWithoutARegionTakesThatOfTheOneAroundIt() throws {
        let list = try RangeList(
            TestLists.azure(
                ("ActionGroup", "", "ActionGroup", ["4.145.74.52/30", "4.146.0.0/24", "2603:1020:201::/56"]),
                ("AzureCloud.westeurope", "westeurope", "", ["4.145.0.0/16", "2603:1020:200::/46"]),
                // A prefix between the two, itself without a region.
                ("AzureAD", "", "AzureAD", ["4.145.74.0/24"]),
                // A smaller prefix with another region, and a prefix inside it.
                ("AzureCloud.westus", "westus", "", ["4.145.128.0/24"]),
                ("PowerBI", "", "PowerBI", ["4.145.128.7/32", "4.145.129.0/24"])), of: .azure)
        #expect(
            list.lines == [
                "4.145.0.0/16 azure westeurope azurecloud", "4.145.74.0/24 azure westeurope azuread",
                "4.145.74.52/30 azure westeurope actiongroup", "4.145.128.0/24 azure westus azurecloud",
                "4.145.128.7/32 azure westus powerbi", "4.145.129.0/24 azure westeurope powerbi",
                "4.146.0.0/24 azure global actiongroup", "2603:1020:200::/46 azure westeurope azurecloud",
                "2603:1020:201::/56 azure westeurope actiongroup",
            ])
    }

    @Test("an IPv6 prefix is never around an IPv4 one") func anIPv6BlockIsNotAroundIPv4() throws {
        // ::/0 contains the IPv4-mapped form of every IPv4 address.
        let list = try RangeList(
            TestLists.azure(
                ("AzureCloud.westeurope", "westeurope", "", ["::/0"]),
                ("ActionGroup", "", "ActionGroup", ["192.0.2.0/24", "2001:db8::/32"])), of: .azure)
        #expect(
            list.lines == [
                "192.0.2.0/24 azure global actiongroup", "::/0 azure westeurope azurecloud",
                "2001:db8::/32 azure westeurope actiongroup",
            ])
    }
}
