// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import KubernetesTestKit
import Testing

@Suite struct ObjectUIDTests {
    @Test("a UUID is stored as its number and printed in lower case") func aUUIDIsItsNumber() {
        let uid = ObjectUID("d471f453-2d64-45a7-a734-531E54B8E51e")
        #expect(uid.bits == 0xd471_f453_2d64_45a7_a734_531e_54b8_e51e)
        #expect(uid.text == "d471f453-2d64-45a7-a734-531e54b8e51e")
    }

    @Test(
        "a UID that is not a UUID is hashed",
        arguments: [
            "", "a", "shop/web", "d471f453-2d64-45a7-a734-531e54b8e51", "d471f453-2d64-45a7-a734-531e54b8e51g",
            "d471f4532d6445a7a734531e54b8e51e", "d471f453-2d64-45a7-a734531e54b8e51e0",
        ])
    func anotherTextIsHashed(_ text: String) {
        // FNV-1a of the empty text is its offset basis; each further byte changes it.
        #expect(ObjectUID(text) == ObjectUID(text + ""))
        #expect((ObjectUID(text).bits == 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d) == text.isEmpty)
        #expect(ObjectUID(text) != ObjectUID(text + "a"))
    }

    @Test("the hash of a UID is FNV-1a") func theHashIsFNV1a() {
        #expect(ObjectUID("a").bits == 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964)
    }
}
