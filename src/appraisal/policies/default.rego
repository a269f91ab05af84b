# The appraisal policy that is built in. It affirms SGX enclaves and TDX domains whose platform is UpToDate, which do not
# run under debug, and whose measurements are among the reference values:
#   mr_td, rtmr_1, rtmr_2         lists of hex; for TDX; all three are needed
#   mr_enclave, or mr_signer      lists of hex; for SGX
# Values are those of AR4SI (draft-ietf-rats-ar4si): 2 to 31 affirm, 32 to 95 warn, 96 to 127 contraindicate.
package policy

import rego.v1

# 97: not recognised hardware or firmware.
default hardware := 97

# 96: known vulnerabilities in the configuration.
default configuration := 96

# 33: executables that are not recognised.
default executables := 33

trust_claims := {
	"hardware": hardware,
	"configuration": configuration,
	"executables": executables,
}

# --- TDX ---

hardware := 2 if input.tdx.tcb_status == "UpToDate"

configuration := 2 if {
	input.tdx.td_attributes.debug == false
	input.tdx.td_attributes.other_debug == false
}

executables := 3 if {
	input.tdx.quote.body.mr_td in query_reference_value("mr_td")
	input.tdx.quote.body.rtmr_1 in query_reference_value("rtmr_1")
	input.tdx.quote.body.rtmr_2 in query_reference_value("rtmr_2")
}

# --- SGX ---

hardware := 2 if input.sgx.tcb_status == "UpToDate"

configuration := 2 if input.sgx.attributes.debug == false

executables := 3 if input.sgx.body.mr_enclave in query_reference_value("mr_enclave")

executables := 3 if input.sgx.body.mr_signer in query_reference_value("mr_signer")
