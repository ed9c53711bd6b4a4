// SPDX-License-Identifier: Apache-2.0

import Testing

/// All tests share the single test bed and therefore run one after another.
@Suite(.serialized) struct EndToEndTests {}
