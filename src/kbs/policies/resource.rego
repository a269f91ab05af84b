# The resource policy that is built in: whoever attested gets every resource, when each of its attesters was affirmed and
# none of them was sample evidence. `input` is the token, `data` says what was asked for:
#   {"plugin":"resource","resource-path":["repository","type","tag"],"query":{}}
package policy

import rego.v1

default allow := false

allow if {
	data.plugin == "resource"
	count(input.submods) > 0
	not doubted
	not sampled
}

doubted if {
	some attester in input.submods
	not attester["ear.status"] == "affirming"
}

sampled if input["cloister.sample"]

sampled if {
	some attester in input.submods
	attester["ear.veraison.annotated-evidence"].sample
}

sampled if {
	some attester in input.submods
	attester["ear.veraison.annotated-evidence"].sampledevice
}
