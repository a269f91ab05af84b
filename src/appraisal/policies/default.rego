# The appraisal policy that is built in. It affirms SGX enclaves and TDX domains whose platform is UpToDate, and SNP guests
# whose platform's reported TCB is among the reference values (AMD publishes no statuses), which do not run under debug, and
# whose measurements are among the reference values:
#   mr_td, rtmr_1, rtmr_2         lists of hex; for TDX; all three are needed
#   mr_enclave, or mr_signer      lists of hex; for SGX
#   snp_launch_measurement        a list of hex; for SNP
#   snp_bootloader, snp_tee_svn, snp_snp_svn, snp_microcode, and from Turin on snp_fmc
#                                 lists of numbers; for SNP
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

# --- SNP ---

snp_fmc_known if not input.snp.reported_tcb_fmc

snp_fmc_known if input.snp.reported_tcb_fmc in query_reference_value("snp_fmc")

hardware := 2 if {
	input.snp.reported_tcb_bootloader in query_reference_value("snp_bootloader")
	input.snp.reported_tcb_tee in query_reference_value("snp_tee_svn")
	input.snp.reported_tcb_snp in query_reference_value("snp_snp_svn")
	input.snp.reported_tcb_microcode in query_reference_value("snp_microcode")
	snp_fmc_known
}

# A report of VMPL 4294967295 is one that the host asked for.
configuration := 2 if {
	input.snp.policy_debug_allowed == false
	input.snp.policy_migrate_ma == false
	input.snp.vmpl <= 3
}

executables := 3 if input.snp.measurement in query_reference_value("snp_launch_measurement")

# --- what runs, as the guest's agent was told to enforce it (init-data that was measured) ---
# Images are names, users are numbers of 32 bits; a list that has anything else is not given at all.

agent_containers := input.init_data_claims.agent_policy_claims.containers

validated["container_images"] := images if {
	images := [container.OCI.Annotations["io.kubernetes.cri.image-name"] | some container in agent_containers]
	count(images) > 0
	not names_other_than_images
}

names_other_than_images if {
	some container in agent_containers
	name := container.OCI.Annotations["io.kubernetes.cri.image-name"]
	not is_string(name)
}

validated["container_uids"] := uids if {
	uids := [container.OCI.Process.User.UID | some container in agent_containers]
	count(uids) > 0
	not names_other_than_users
}

names_other_than_users if {
	some container in agent_containers
	uid := container.OCI.Process.User.UID
	not is_number(uid)
}

names_other_than_users if {
	some container in agent_containers
	uid := container.OCI.Process.User.UID
	is_number(uid)
	floor(uid) != uid
}

names_other_than_users if {
	some container in agent_containers
	uid := container.OCI.Process.User.UID
	uid < 0
}

names_other_than_users if {
	some container in agent_containers
	uid := container.OCI.Process.User.UID
	uid > 4294967295
}

extensions := [{"name": "ear.trustee.identifiers", "key": -18, "value": {"validated": validated}}] if {
	count(agent_containers) > 0
	count(validated) > 0
}
