// SPDX-License-Identifier: Apache-2.0

import Testing

/// Tests on the one test bed that there is: one after another.
@Suite(.serialized) struct EndToEndTests {}
