# Deployers look everywhere, and restart services on the nodes of their own team.
package io.choria.aaasvc

import rego.v1

default allow := false

allow if {
	input.agent == "service"
	input.action == "status"
}

allow if {
	input.agent == "service"
	input.action in {"start", "stop", "restart"}
	requires_fact_filter(sprintf("team=%s", [input.claims.user_properties.team]))
	input.collective != "production"
}
