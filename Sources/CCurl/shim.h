// SPDX-License-Identifier: Apache-2.0
// libcurl's option setters are variadic, which Swift cannot call: one function for each kind of argument.
#pragma once

// CURLOPT_PROTOCOLS is marked as deprecated since 7.85, what replaces it is missing in 7.81 (Ubuntu 22.04).
#define CURL_DISABLE_DEPRECATION
#include <curl/curl.h>

static inline CURLcode kubenetmon_curl_set_long(CURL *handle, CURLoption option, long value) {
    return curl_easy_setopt(handle, option, value);
}

static inline CURLcode kubenetmon_curl_set_offset(CURL *handle, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(handle, option, value);
}

static inline CURLcode kubenetmon_curl_set_pointer(CURL *handle, CURLoption option, const void *value) {
    return curl_easy_setopt(handle, option, value);
}

typedef size_t (*kubenetmon_curl_data_function)(char *data, size_t size, size_t count, void *context);

static inline CURLcode kubenetmon_curl_set_data_function(
    CURL *handle, CURLoption option, kubenetmon_curl_data_function function) {
    return curl_easy_setopt(handle, option, function);
}

static inline CURLcode kubenetmon_curl_get_long(CURL *handle, CURLINFO info, long *value) {
    return curl_easy_getinfo(handle, info, value);
}
