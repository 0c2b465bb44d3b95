package kbstripe_test

import "time"

const day = 24 * time.Hour

// The cases: creates that are found by their mark or are not there, objects that their id leads to, and what became
// later of what was not final. Replies are Stripe's, cut down to what is read.
var evidence = []told{
	{name: "refund", call: "POST /v1/refunds charge=ch_1&amount=5000", bound: "exact outflow 50.00 USD", want: "executed outflow 50.00 USD", looks: []looked{
		{sinceCall("refunds.list", "/v1/refunds", ""), list_(false, `{"id":"zz","object":"refund"}`, `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"refunds.retrieve /v1/refunds/re_1", `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "refund pending", call: "POST /v1/refunds charge=ch_1&amount=5000", bound: "exact outflow 50.00 USD", want: "pending outflow 50.00 USD again 24h", looks: []looked{
		{sinceCall("refunds.list", "/v1/refunds", ""), list_(false, `{"id":"zz","object":"refund"}`, `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"pending","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"refunds.retrieve /v1/refunds/re_1", `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"pending","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "refund failed", call: "POST /v1/refunds charge=ch_1&amount=5000", bound: "exact outflow 50.00 USD", want: "executed", looks: []looked{
		{sinceCall("refunds.list", "/v1/refunds", ""), list_(false, `{"id":"zz","object":"refund"}`, `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"failed","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"refunds.retrieve /v1/refunds/re_1", `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"failed","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "refund absent", call: "POST /v1/refunds charge=ch_1&amount=5000", bound: "exact outflow 50.00 USD", want: "absent", looks: []looked{
		{sinceCall("refunds.list", "/v1/refunds", ""), list_(false, `{"id":"zz","object":"refund"}`)},
	}},
	{name: "refund without a mark", call: "POST /v1/refunds charge=ch_1&amount=5000", bound: "exact outflow 50.00 USD", unmark: true, want: "?"},
	{name: "refund that the reply named", call: "POST /v1/refunds charge=ch_1&amount=5000", bound: "exact outflow 50.00 USD", unmark: true, objects: "re_1 ch_1", want: "executed outflow 50.00 USD", looks: []looked{
		{"refunds.retrieve /v1/refunds/re_1", `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"succeeded"}`},
	}},
	{name: "refund, later pending", call: "POST /v1/refunds charge=ch_1&amount=5000", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", objects: "re_1 ch_1", age: 2 * day, want: "pending outflow 50.00 USD again 24h", looks: []looked{
		{"refunds.retrieve /v1/refunds/re_1", `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"pending","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "refund, later failed", call: "POST /v1/refunds charge=ch_1&amount=5000", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", objects: "re_1 ch_1", age: 2 * day, want: "executed", looks: []looked{
		{"refunds.retrieve /v1/refunds/re_1", `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"failed","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "refund, later canceled", call: "POST /v1/refunds charge=ch_1&amount=5000", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", objects: "re_1", age: 2 * day, want: "executed", looks: []looked{
		{"refunds.retrieve /v1/refunds/re_1", `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"canceled","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "refund, later done", call: "POST /v1/refunds charge=ch_1&amount=5000", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", objects: "re_1", age: 40 * day, want: "executed outflow 50.00 USD", looks: []looked{
		{"refunds.retrieve /v1/refunds/re_1", `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "refund of a py_", call: "POST /v1/refunds charge=ch_1&amount=5000", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", objects: "pyr_1 py_1", want: "executed", looks: []looked{
		{"refunds.retrieve /v1/refunds/pyr_1", `{"id":"pyr_1","object":"refund","amount":5000,"currency":"usd","status":"failed","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "refund of a status that is not known", call: "POST /v1/refunds charge=ch_1&amount=5000", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", objects: "re_1", want: "?", looks: []looked{
		{"refunds.retrieve /v1/refunds/re_1", `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"new","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "refund by the older path", call: "POST /v1/charges/ch_1/refund amount=5000", bound: "exact outflow 50.00 USD", want: "executed outflow 50.00 USD", looks: []looked{
		{sinceCall("refunds.list", "/v1/refunds", ""), list_(false, `{"id":"zz","object":"refund"}`, `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"refunds.retrieve /v1/refunds/re_1", `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "refund by the old path", call: "POST /v1/charges/ch_1/refunds amount=5000", bound: "exact outflow 50.00 USD", want: "executed outflow 50.00 USD", looks: []looked{
		{sinceCall("refunds.list", "/v1/refunds", ""), list_(false, `{"id":"zz","object":"refund"}`, `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"refunds.retrieve /v1/refunds/re_1", `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "refund on a reader", call: "POST /v1/terminal/readers/tmr_1/refund_payment charge=ch_1&amount=5000", bound: "exact outflow 50.00 USD", want: "pending outflow 50.00 USD again 24h", looks: []looked{
		{sinceCall("refunds.list", "/v1/refunds", ""), list_(false, `{"id":"zz","object":"refund"}`, `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"pending","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"refunds.retrieve /v1/refunds/re_1", `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"pending","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "refund on a reader, later", call: "POST /v1/terminal/readers/tmr_1/refund_payment charge=ch_1&amount=5000", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", objects: "tmr_1", want: "executed", looks: []looked{
		{sinceCall("refunds.list", "/v1/refunds", ""), list_(false, `{"id":"zz","object":"refund"}`, `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"failed","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"refunds.retrieve /v1/refunds/re_1", `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"failed","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "refund on a reader, later and not there", call: "POST /v1/terminal/readers/tmr_1/refund_payment charge=ch_1&amount=5000", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", want: "?", looks: []looked{
		{sinceCall("refunds.list", "/v1/refunds", ""), list_(false)},
	}},
	{name: "refund canceled", call: "POST /v1/refunds/re_1/cancel", bound: "exact nothing on re_1", want: "executed on re_1", looks: []looked{
		{"refunds.retrieve /v1/refunds/re_1", `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"canceled","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "refund not canceled", call: "POST /v1/refunds/re_1/cancel", bound: "exact nothing on re_1", want: "?", looks: []looked{
		{"refunds.retrieve /v1/refunds/re_1", `{"id":"re_1","object":"refund","amount":5000,"currency":"usd","charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "refund canceled, nothing held", call: "POST /v1/refunds/re_1/cancel", bound: "exact nothing", want: "executed"},
	{name: "intent", call: "POST /v1/payment_intents amount=5000&currency=usd", bound: "exact charge 50.00 USD", want: "pending held charge 50.00 USD on pi_1 again 24h", looks: []looked{
		{sinceCall("payment_intents.list", "/v1/payment_intents", ""), list_(false, `{"id":"zz","object":"payment_intent"}`, `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"requires_payment_method","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"requires_payment_method","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "intent paid", call: "POST /v1/payment_intents amount=5000&currency=usd&confirm=true", bound: "exact charge 50.00 USD", want: "executed charge 50.00 USD on pi_1", looks: []looked{
		{sinceCall("payment_intents.list", "/v1/payment_intents", ""), list_(false, `{"id":"zz","object":"payment_intent"}`, `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":5000,"currency":"usd","latest_charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":5000,"currency":"usd","latest_charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "intent authorised", call: "POST /v1/payment_intents amount=5000&currency=usd&confirm=true", bound: "exact charge 50.00 USD", want: "pending held charge 50.00 USD on pi_1 again 168h", looks: []looked{
		{sinceCall("payment_intents.list", "/v1/payment_intents", ""), list_(false, `{"id":"zz","object":"payment_intent"}`, `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":5000,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"requires_capture","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":5000,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"requires_capture","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "intent processing", call: "POST /v1/payment_intents amount=5000&currency=usd", bound: "exact charge 50.00 USD", want: "pending held charge 50.00 USD on pi_1 again 24h", looks: []looked{
		{sinceCall("payment_intents.list", "/v1/payment_intents", ""), list_(false, `{"id":"zz","object":"payment_intent"}`, `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"processing","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"processing","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "intent canceled", call: "POST /v1/payment_intents amount=5000&currency=usd", bound: "exact charge 50.00 USD", want: "executed on pi_1", looks: []looked{
		{sinceCall("payment_intents.list", "/v1/payment_intents", ""), list_(false, `{"id":"zz","object":"payment_intent"}`, `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"canceled","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"canceled","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "intent with another amount to confirm", call: "POST /v1/payment_intents amount=5000&currency=usd&amount_to_confirm=7000", bound: "most charge 70.00 USD", want: "pending held charge 70.00 USD on pi_1 again 24h", looks: []looked{
		{sinceCall("payment_intents.list", "/v1/payment_intents", ""), list_(false, `{"id":"zz","object":"payment_intent"}`, `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"processing","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"processing","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "intent absent", call: "POST /v1/payment_intents amount=5000&currency=usd", bound: "exact charge 50.00 USD", want: "absent", looks: []looked{
		{sinceCall("payment_intents.list", "/v1/payment_intents", ""), list_(false, `{"id":"zz","object":"payment_intent"}`)},
	}},
	{name: "intent, later paid", call: "POST /v1/payment_intents amount=5000&currency=usd", bound: "exact charge 50.00 USD", pending: "-", objects: "pi_1", want: "executed charge 50.00 USD on pi_1", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":5000,"currency":"usd","latest_charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "intent, later failed", call: "POST /v1/payment_intents amount=5000&currency=usd", bound: "exact charge 50.00 USD", pending: "-", objects: "pi_1", want: "pending held charge 50.00 USD on pi_1 again 24h", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"requires_payment_method","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "intent, later captured in part", call: "POST /v1/payment_intents amount=5000&currency=usd", bound: "exact charge 50.00 USD", pending: "-", objects: "pi_1", want: "executed charge 20.00 USD on pi_1", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":2000,"currency":"usd","latest_charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "confirm paid", call: "POST /v1/payment_intents/pi_1/confirm", bound: "exact charge 50.00 USD on pi_1", want: "executed charge 50.00 USD on pi_1", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":5000,"currency":"usd","latest_charge":"ch_1","status":"succeeded"}`},
	}},
	{name: "confirm waits", call: "POST /v1/payment_intents/pi_1/confirm", bound: "exact charge 50.00 USD on pi_1", want: "?", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"requires_payment_method"}`},
	}},
	{name: "confirm canceled", call: "POST /v1/payment_intents/pi_1/confirm", bound: "exact charge 50.00 USD on pi_1", want: "executed on pi_1", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"canceled"}`},
	}},
	{name: "confirm processing", call: "POST /v1/payment_intents/pi_1/confirm", bound: "exact charge 50.00 USD on pi_1", want: "pending held charge 50.00 USD on pi_1 again 24h", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"processing"}`},
	}},
	{name: "confirm, later paid", call: "POST /v1/payment_intents/pi_1/confirm", bound: "exact charge 50.00 USD on pi_1", pending: "-", want: "executed charge 50.00 USD on pi_1", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":5000,"currency":"usd","latest_charge":"ch_1","status":"succeeded"}`},
	}},
	{name: "apply_customer_balance paid", call: "POST /v1/payment_intents/pi_1/apply_customer_balance", bound: "most charge 50.00 USD on pi_1", want: "executed charge 50.00 USD on pi_1", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":5000,"currency":"usd","latest_charge":"ch_1","status":"succeeded"}`},
	}},
	{name: "apply_customer_balance waits", call: "POST /v1/payment_intents/pi_1/apply_customer_balance", bound: "most charge 50.00 USD on pi_1", want: "?", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"requires_payment_method"}`},
	}},
	{name: "apply_customer_balance canceled", call: "POST /v1/payment_intents/pi_1/apply_customer_balance", bound: "most charge 50.00 USD on pi_1", want: "executed on pi_1", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"canceled"}`},
	}},
	{name: "apply_customer_balance processing", call: "POST /v1/payment_intents/pi_1/apply_customer_balance", bound: "most charge 50.00 USD on pi_1", want: "pending held charge 50.00 USD on pi_1 again 24h", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"processing"}`},
	}},
	{name: "apply_customer_balance, later paid", call: "POST /v1/payment_intents/pi_1/apply_customer_balance", bound: "most charge 50.00 USD on pi_1", pending: "-", want: "executed charge 50.00 USD on pi_1", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":5000,"currency":"usd","latest_charge":"ch_1","status":"succeeded"}`},
	}},
	{name: "verify_microdeposits paid", call: "POST /v1/payment_intents/pi_1/verify_microdeposits", bound: "most charge 50.00 USD on pi_1", want: "executed charge 50.00 USD on pi_1", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":5000,"currency":"usd","latest_charge":"ch_1","status":"succeeded"}`},
	}},
	{name: "verify_microdeposits waits", call: "POST /v1/payment_intents/pi_1/verify_microdeposits", bound: "most charge 50.00 USD on pi_1", want: "?", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"requires_payment_method"}`},
	}},
	{name: "verify_microdeposits canceled", call: "POST /v1/payment_intents/pi_1/verify_microdeposits", bound: "most charge 50.00 USD on pi_1", want: "executed on pi_1", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"canceled"}`},
	}},
	{name: "verify_microdeposits processing", call: "POST /v1/payment_intents/pi_1/verify_microdeposits", bound: "most charge 50.00 USD on pi_1", want: "pending held charge 50.00 USD on pi_1 again 24h", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"processing"}`},
	}},
	{name: "verify_microdeposits, later paid", call: "POST /v1/payment_intents/pi_1/verify_microdeposits", bound: "most charge 50.00 USD on pi_1", pending: "-", want: "executed charge 50.00 USD on pi_1", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":5000,"currency":"usd","latest_charge":"ch_1","status":"succeeded"}`},
	}},
	{name: "confirm of an intent that was captured since", call: "POST /v1/payment_intents/pi_1/confirm", bound: "exact charge 50.00 USD on pi_1", want: "?", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":5000,"currency":"usd","latest_charge":"ch_1","status":"succeeded","capture_method":"manual","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "confirm of an intent that is to be captured", call: "POST /v1/payment_intents/pi_1/confirm", bound: "exact charge 50.00 USD on pi_1", want: "pending held charge 50.00 USD on pi_1 again 168h", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":5000,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"requires_capture","capture_method":"manual","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "confirm of an intent whose amount was changed", call: "POST /v1/payment_intents/pi_1/confirm", bound: "exact charge 50.00 USD on pi_1", want: "?", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":9000,"amount_capturable":0,"amount_received":9000,"currency":"usd","latest_charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "update", call: "POST /v1/payment_intents/pi_1 amount=5000", bound: "exact charge 50.00 USD on pi_1", want: "pending held charge 50.00 USD on pi_1 again 24h", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"requires_payment_method","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "update that does not show", call: "POST /v1/payment_intents/pi_1 amount=5000", bound: "exact charge 50.00 USD on pi_1", want: "?", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":4000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"requires_payment_method","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "update of words", call: "POST /v1/payment_intents/pi_1 description=x", bound: "exact nothing", want: "executed"},
	{name: "increment", call: "POST /v1/payment_intents/pi_1/increment_authorization amount=5000", bound: "exact charge 50.00 USD on pi_1", want: "pending held charge 50.00 USD on pi_1 again 168h", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":5000,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"requires_capture","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "increment that does not show", call: "POST /v1/payment_intents/pi_1/increment_authorization amount=5000", bound: "exact charge 50.00 USD on pi_1", want: "?", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":4000,"amount_capturable":4000,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"requires_capture","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "capture", call: "POST /v1/payment_intents/pi_1/capture amount_to_capture=5000", bound: "exact charge 50.00 USD on pi_1", want: "executed charge 50.00 USD on pi_1", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":5000,"currency":"usd","latest_charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "capture of all", call: "POST /v1/payment_intents/pi_1/capture", bound: "exact charge 50.00 USD on pi_1", want: "executed charge 50.00 USD on pi_1", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":5000,"currency":"usd","latest_charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "capture in part", call: "POST /v1/payment_intents/pi_1/capture amount_to_capture=2000&final_capture=false", bound: "exact charge 50.00 USD on pi_1", want: "pending charge 20.00 USD held charge 30.00 USD on pi_1 again 168h", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":3000,"amount_received":2000,"currency":"usd","latest_charge":"ch_1","status":"requires_capture","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "capture that does not show", call: "POST /v1/payment_intents/pi_1/capture amount_to_capture=5000", bound: "exact charge 50.00 USD on pi_1", want: "?", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":5000,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"requires_capture","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "capture of another amount", call: "POST /v1/payment_intents/pi_1/capture amount_to_capture=5000", bound: "exact charge 50.00 USD on pi_1", want: "?", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":3000,"currency":"usd","latest_charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "capture after others", call: "POST /v1/payment_intents/pi_1/capture amount_to_capture=2000", bound: "most charge 20.00 USD on pi_1", want: "?", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":5000,"currency":"usd","latest_charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "capture after one of the same amount", call: "POST /v1/payment_intents/pi_1/capture amount_to_capture=2000", bound: "most charge 20.00 USD on pi_1", want: "?", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":3000,"amount_received":2000,"currency":"usd","latest_charge":"ch_1","status":"requires_capture","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "capture of a canceled intent", call: "POST /v1/payment_intents/pi_1/capture amount_to_capture=5000", bound: "exact charge 50.00 USD on pi_1", want: "executed on pi_1", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"canceled","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "capture in part, later over", call: "POST /v1/payment_intents/pi_1/capture amount_to_capture=2000&final_capture=false", bound: "most charge 50.00 USD on pi_1", pending: "charge 20.00 USD", want: "executed charge 20.00 USD on pi_1", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":4000,"currency":"usd","latest_charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "capture in part, later still held", call: "POST /v1/payment_intents/pi_1/capture amount_to_capture=2000&final_capture=false", bound: "most charge 50.00 USD on pi_1", pending: "charge 20.00 USD", want: "pending charge 20.00 USD held charge 10.00 USD on pi_1 again 168h", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":1000,"amount_received":4000,"currency":"usd","latest_charge":"ch_1","status":"requires_capture","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "cancel", call: "POST /v1/payment_intents/pi_1/cancel", bound: "exact nothing on pi_1", want: "executed on pi_1", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"canceled","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "cancel that does not show", call: "POST /v1/payment_intents/pi_1/cancel", bound: "exact nothing on pi_1", want: "?", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":5000,"currency":"usd","latest_charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "reader", call: "POST /v1/terminal/readers/tmr_1/process_payment_intent payment_intent=pi_1", bound: "exact charge 50.00 USD on pi_1", want: "executed charge 50.00 USD on pi_1", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":5000,"currency":"usd","latest_charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "reader waits", call: "POST /v1/terminal/readers/tmr_1/process_payment_intent payment_intent=pi_1", bound: "exact charge 50.00 USD on pi_1", want: "?", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"requires_payment_method","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "reader, later", call: "POST /v1/terminal/readers/tmr_1/process_payment_intent payment_intent=pi_1", bound: "exact charge 50.00 USD on pi_1", pending: "-", want: "pending held charge 50.00 USD on pi_1 again 24h", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":0,"currency":"usd","latest_charge":"ch_1","status":"requires_payment_method","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "reader, later paid", call: "POST /v1/terminal/readers/tmr_1/process_payment_intent payment_intent=pi_1", bound: "exact charge 50.00 USD on pi_1", pending: "-", objects: "tmr_1 pi_1", want: "executed charge 50.00 USD on pi_1", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":5000,"currency":"usd","latest_charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "reader confirms", call: "POST /v1/terminal/readers/tmr_1/confirm_payment_intent payment_intent=pi_1", bound: "most charge 60.00 USD", want: "executed charge 50.00 USD on pi_1", looks: []looked{
		{"payment_intents.retrieve /v1/payment_intents/pi_1", `{"id":"pi_1","object":"payment_intent","amount":5000,"amount_capturable":0,"amount_received":5000,"currency":"usd","latest_charge":"ch_1","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "reader of no intent", call: "POST /v1/terminal/readers/tmr_1/process_payment_intent payment_intent=x", bound: "exact charge 50.00 USD", want: "?"},
	{name: "charge", call: "POST /v1/charges amount=5000&currency=usd&source=tok_1", bound: "exact charge 50.00 USD", want: "executed charge 50.00 USD on ch_1", looks: []looked{
		{sinceCall("charges.list", "/v1/charges", ""), list_(false, `{"id":"zz","object":"charge"}`, `{"id":"ch_1","object":"charge","amount":5000,"amount_captured":5000,"amount_refunded":0,"captured":true,"currency":"usd","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"charges.retrieve /v1/charges/ch_1", `{"id":"ch_1","object":"charge","amount":5000,"amount_captured":5000,"amount_refunded":0,"captured":true,"currency":"usd","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "charge failed", call: "POST /v1/charges amount=5000&currency=usd&source=tok_1", bound: "exact charge 50.00 USD", want: "executed on ch_1", looks: []looked{
		{sinceCall("charges.list", "/v1/charges", ""), list_(false, `{"id":"zz","object":"charge"}`, `{"id":"ch_1","object":"charge","amount":5000,"amount_captured":0,"amount_refunded":0,"captured":false,"currency":"usd","status":"failed","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"charges.retrieve /v1/charges/ch_1", `{"id":"ch_1","object":"charge","amount":5000,"amount_captured":0,"amount_refunded":0,"captured":false,"currency":"usd","status":"failed","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "charge pending", call: "POST /v1/charges amount=5000&currency=usd&source=tok_1", bound: "exact charge 50.00 USD", want: "pending held charge 50.00 USD on ch_1 again 24h", looks: []looked{
		{sinceCall("charges.list", "/v1/charges", ""), list_(false, `{"id":"zz","object":"charge"}`, `{"id":"ch_1","object":"charge","amount":5000,"amount_captured":0,"amount_refunded":0,"captured":false,"currency":"usd","status":"pending","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"charges.retrieve /v1/charges/ch_1", `{"id":"ch_1","object":"charge","amount":5000,"amount_captured":0,"amount_refunded":0,"captured":false,"currency":"usd","status":"pending","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "charge authorised", call: "POST /v1/charges amount=5000&currency=usd&source=tok_1&capture=false", bound: "exact charge 50.00 USD", want: "pending held charge 50.00 USD on ch_1 again 168h", looks: []looked{
		{sinceCall("charges.list", "/v1/charges", ""), list_(false, `{"id":"zz","object":"charge"}`, `{"id":"ch_1","object":"charge","amount":5000,"amount_captured":0,"amount_refunded":0,"captured":false,"currency":"usd","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"charges.retrieve /v1/charges/ch_1", `{"id":"ch_1","object":"charge","amount":5000,"amount_captured":0,"amount_refunded":0,"captured":false,"currency":"usd","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "charge, later released", call: "POST /v1/charges amount=5000&currency=usd&source=tok_1&capture=false", bound: "exact charge 50.00 USD", pending: "-", objects: "ch_1", want: "executed on ch_1", looks: []looked{
		{"charges.retrieve /v1/charges/ch_1", `{"id":"ch_1","object":"charge","amount":5000,"amount_captured":0,"amount_refunded":5000,"captured":false,"currency":"usd","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "charge absent", call: "POST /v1/charges amount=5000&currency=usd&source=tok_1", bound: "exact charge 50.00 USD", want: "absent", looks: []looked{
		{sinceCall("charges.list", "/v1/charges", ""), list_(false, `{"id":"zz","object":"charge"}`)},
	}},
	{name: "charge captured", call: "POST /v1/charges/ch_1/capture amount=5000", bound: "exact charge 50.00 USD on ch_1", want: "executed charge 50.00 USD on ch_1", looks: []looked{
		{"charges.retrieve /v1/charges/ch_1", `{"id":"ch_1","object":"charge","amount":5000,"amount_captured":5000,"amount_refunded":0,"captured":true,"currency":"usd","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "charge not captured", call: "POST /v1/charges/ch_1/capture amount=5000", bound: "exact charge 50.00 USD on ch_1", want: "?", looks: []looked{
		{"charges.retrieve /v1/charges/ch_1", `{"id":"ch_1","object":"charge","amount":5000,"amount_captured":0,"amount_refunded":0,"captured":false,"currency":"usd","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "charge captured for less", call: "POST /v1/charges/ch_1/capture amount=5000", bound: "exact charge 50.00 USD on ch_1", want: "?", looks: []looked{
		{"charges.retrieve /v1/charges/ch_1", `{"id":"ch_1","object":"charge","amount":5000,"amount_captured":2000,"amount_refunded":0,"captured":true,"currency":"usd","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "charge released", call: "POST /v1/charges/ch_1/capture amount=5000", bound: "exact charge 50.00 USD on ch_1", want: "executed on ch_1", looks: []looked{
		{"charges.retrieve /v1/charges/ch_1", `{"id":"ch_1","object":"charge","amount":5000,"amount_captured":0,"amount_refunded":5000,"captured":false,"currency":"usd","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "transfer", call: "POST /v1/transfers amount=5000&currency=usd&destination=acct_1", bound: "exact outflow 50.00 USD", want: "executed outflow 50.00 USD", looks: []looked{
		{sinceCall("transfers.list", "/v1/transfers", ""), list_(false, `{"id":"zz","object":"transfer"}`, `{"id":"tr_1","object":"transfer","amount":5000,"amount_reversed":0,"currency":"usd","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"transfers.retrieve /v1/transfers/tr_1", `{"id":"tr_1","object":"transfer","amount":5000,"amount_reversed":0,"currency":"usd","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "transfer absent", call: "POST /v1/transfers amount=5000&currency=usd&destination=acct_1", bound: "exact outflow 50.00 USD", want: "absent", looks: []looked{
		{sinceCall("transfers.list", "/v1/transfers", ""), list_(false, `{"id":"zz","object":"transfer"}`)},
	}},
	{name: "reversal", call: "POST /v1/transfers/tr_1/reversals amount=5000", bound: "exact charge 50.00 USD", want: "executed charge 50.00 USD", looks: []looked{
		{"transfers.reversals.list /v1/transfers/tr_1/reversals?limit=100", list_(false, `{"id":"zz","object":"transfer_reversal"}`, `{"id":"trr_1","object":"transfer_reversal","amount":5000,"currency":"usd","created":1795435200,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"transfers.reversals.retrieve /v1/transfers/tr_1/reversals/trr_1", `{"id":"trr_1","object":"transfer_reversal","amount":5000,"currency":"usd","created":1795435200,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "reversal absent", call: "POST /v1/transfers/tr_1/reversals amount=5000", bound: "exact charge 50.00 USD", want: "absent", looks: []looked{
		{"transfers.reversals.list /v1/transfers/tr_1/reversals?limit=100", list_(false, `{"id":"zz","object":"transfer_reversal"}`)},
	}},
	{name: "reversal, the list goes on", call: "POST /v1/transfers/tr_1/reversals amount=5000", bound: "exact charge 50.00 USD", want: "absent", looks: []looked{
		{"transfers.reversals.list /v1/transfers/tr_1/reversals?limit=100", list_(true, `{"id":"trr_9","object":"transfer_reversal","created":1795435300}`)},
		{"transfers.reversals.list /v1/transfers/tr_1/reversals?limit=100&starting_after=trr_9", list_(false)},
	}},
	{name: "reversal, the list ends before the call", call: "POST /v1/transfers/tr_1/reversals amount=5000", bound: "exact charge 50.00 USD", want: "absent", looks: []looked{
		{"transfers.reversals.list /v1/transfers/tr_1/reversals?limit=100", list_(true, `{"id":"trr_0","object":"transfer_reversal","created":1700000000}`)},
	}},
	{name: "fee refund", call: "POST /v1/application_fees/fee_1/refunds amount=5000", bound: "exact outflow 50.00 USD", want: "executed outflow 50.00 USD", looks: []looked{
		{"application_fees.refunds.list /v1/application_fees/fee_1/refunds?limit=100", list_(false, `{"id":"zz","object":"fee_refund"}`, `{"id":"fr_1","object":"fee_refund","amount":5000,"currency":"usd","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"application_fees.refunds.retrieve /v1/application_fees/fee_1/refunds/fr_1", `{"id":"fr_1","object":"fee_refund","amount":5000,"currency":"usd","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "payout", call: "POST /v1/payouts amount=5000&currency=usd", bound: "exact outflow 50.00 USD", want: "pending outflow 50.00 USD again 24h", looks: []looked{
		{sinceCall("payouts.list", "/v1/payouts", ""), list_(false, `{"id":"zz","object":"payout"}`, `{"id":"po_1","object":"payout","amount":5000,"currency":"usd","status":"pending","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"payouts.retrieve /v1/payouts/po_1", `{"id":"po_1","object":"payout","amount":5000,"currency":"usd","status":"pending","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "payout paid", call: "POST /v1/payouts amount=5000&currency=usd", bound: "exact outflow 50.00 USD", want: "pending outflow 50.00 USD again 168h", looks: []looked{
		{sinceCall("payouts.list", "/v1/payouts", ""), list_(false, `{"id":"zz","object":"payout"}`, `{"id":"po_1","object":"payout","amount":5000,"currency":"usd","status":"paid","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"payouts.retrieve /v1/payouts/po_1", `{"id":"po_1","object":"payout","amount":5000,"currency":"usd","status":"paid","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "payout absent", call: "POST /v1/payouts amount=5000&currency=usd", bound: "exact outflow 50.00 USD", want: "absent", looks: []looked{
		{sinceCall("payouts.list", "/v1/payouts", ""), list_(false, `{"id":"zz","object":"payout"}`)},
	}},
	{name: "payout, later paid", call: "POST /v1/payouts amount=5000&currency=usd", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", objects: "po_1", age: 5 * day, want: "pending outflow 50.00 USD again 168h", looks: []looked{
		{"payouts.retrieve /v1/payouts/po_1", `{"id":"po_1","object":"payout","amount":5000,"currency":"usd","status":"paid","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "payout, paid for good", call: "POST /v1/payouts amount=5000&currency=usd", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", objects: "po_1", age: 15 * day, want: "executed outflow 50.00 USD", looks: []looked{
		{"payouts.retrieve /v1/payouts/po_1", `{"id":"po_1","object":"payout","amount":5000,"currency":"usd","status":"paid","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "payout that stays on its way", call: "POST /v1/payouts amount=5000&currency=usd", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", objects: "po_1", age: 15 * day, want: "pending outflow 50.00 USD again 168h", looks: []looked{
		{"payouts.retrieve /v1/payouts/po_1", `{"id":"po_1","object":"payout","amount":5000,"currency":"usd","status":"in_transit","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "payout, paid and then failed", call: "POST /v1/payouts amount=5000&currency=usd", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", objects: "po_1", age: 9 * day, want: "executed", looks: []looked{
		{"payouts.retrieve /v1/payouts/po_1", `{"id":"po_1","object":"payout","amount":5000,"currency":"usd","status":"failed","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "payout, later canceled", call: "POST /v1/payouts amount=5000&currency=usd", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", objects: "po_1", want: "executed", looks: []looked{
		{"payouts.retrieve /v1/payouts/po_1", `{"id":"po_1","object":"payout","amount":5000,"currency":"usd","status":"canceled","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "instant payout, its ceiling booked", call: "POST /v1/payouts amount=5000&currency=usd&method=instant", bound: "most outflow 52.00 USD", pending: "outflow 52.00 USD", objects: "po_1", want: "pending outflow 52.00 USD again 168h", looks: []looked{
		{"payouts.retrieve /v1/payouts/po_1", `{"id":"po_1","object":"payout","amount":5000,"currency":"usd","status":"paid","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "payout canceled", call: "POST /v1/payouts/po_1/cancel", bound: "exact nothing on po_1", want: "executed on po_1", looks: []looked{
		{"payouts.retrieve /v1/payouts/po_1", `{"id":"po_1","object":"payout","amount":5000,"currency":"usd","status":"canceled","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "payout reversed", call: "POST /v1/payouts/po_1/reverse", bound: "exact charge 50.00 USD", age: 20 * day, want: "executed charge 50.00 USD", looks: []looked{
		{"payouts.retrieve /v1/payouts/po_1", `{"id":"po_1","object":"payout","amount":5000,"currency":"usd","status":"paid","reversed_by":"po_2","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
		{"payouts.retrieve /v1/payouts/po_2", `{"id":"po_2","object":"payout","amount":-5000,"currency":"usd","status":"pending","original_payout":"po_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "payout reversed by another call", call: "POST /v1/payouts/po_1/reverse", bound: "exact charge 50.00 USD", want: "?", looks: []looked{
		{"payouts.retrieve /v1/payouts/po_1", `{"id":"po_1","object":"payout","amount":5000,"currency":"usd","status":"paid","reversed_by":"po_2","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
		{"payouts.retrieve /v1/payouts/po_2", `{"id":"po_2","object":"payout","amount":-5000,"currency":"usd","status":"pending","original_payout":"po_1"}`},
	}},
	{name: "payout reversed, another payout", call: "POST /v1/payouts/po_1/reverse", bound: "exact charge 50.00 USD", want: "?", looks: []looked{
		{"payouts.retrieve /v1/payouts/po_1", `{"id":"po_1","object":"payout","amount":5000,"currency":"usd","status":"paid","reversed_by":"po_2","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
		{"payouts.retrieve /v1/payouts/po_2", `{"id":"po_2","object":"payout","amount":-5000,"currency":"usd","status":"pending","original_payout":"po_3","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "payout reversed in vain", call: "POST /v1/payouts/po_1/reverse", bound: "exact charge 50.00 USD", want: "executed", looks: []looked{
		{"payouts.retrieve /v1/payouts/po_1", `{"id":"po_1","object":"payout","amount":5000,"currency":"usd","status":"paid","reversed_by":"po_2","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
		{"payouts.retrieve /v1/payouts/po_2", `{"id":"po_2","object":"payout","amount":-5000,"currency":"usd","status":"failed","original_payout":"po_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "payout not reversed", call: "POST /v1/payouts/po_1/reverse", bound: "exact charge 50.00 USD", want: "?", looks: []looked{
		{"payouts.retrieve /v1/payouts/po_1", `{"id":"po_1","object":"payout","amount":5000,"currency":"usd","status":"paid","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "top-up", call: "POST /v1/topups amount=5000&currency=usd", bound: "exact charge 50.00 USD", want: "pending charge 50.00 USD again 24h", looks: []looked{
		{sinceCall("topups.list", "/v1/topups", ""), list_(false, `{"id":"zz","object":"topup"}`, `{"id":"tu_1","object":"topup","amount":5000,"currency":"usd","status":"pending","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"topups.retrieve /v1/topups/tu_1", `{"id":"tu_1","object":"topup","amount":5000,"currency":"usd","status":"pending","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "top-up, later failed", call: "POST /v1/topups amount=5000&currency=usd", bound: "exact charge 50.00 USD", pending: "charge 50.00 USD", objects: "tu_1", want: "executed", looks: []looked{
		{"topups.retrieve /v1/topups/tu_1", `{"id":"tu_1","object":"topup","amount":5000,"currency":"usd","status":"failed","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "top-up, later done", call: "POST /v1/topups amount=5000&currency=usd", bound: "exact charge 50.00 USD", pending: "charge 50.00 USD", objects: "tu_1", want: "executed charge 50.00 USD", looks: []looked{
		{"topups.retrieve /v1/topups/tu_1", `{"id":"tu_1","object":"topup","amount":5000,"currency":"usd","status":"succeeded","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "top-up absent", call: "POST /v1/topups amount=5000&currency=usd", bound: "exact charge 50.00 USD", want: "absent", looks: []looked{
		{sinceCall("topups.list", "/v1/topups", ""), list_(false, `{"id":"zz","object":"topup"}`)},
	}},
	{name: "top-up canceled", call: "POST /v1/topups/tu_1/cancel", bound: "exact nothing on tu_1", want: "executed on tu_1", looks: []looked{
		{"topups.retrieve /v1/topups/tu_1", `{"id":"tu_1","object":"topup","amount":5000,"currency":"usd","status":"canceled","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "outbound payment", call: "POST /v1/treasury/outbound_payments amount=5000&currency=usd&financial_account=fa_1", bound: "exact outflow 50.00 USD", want: "pending outflow 50.00 USD again 24h", looks: []looked{
		{sinceCall("treasury.outbound_payments.list", "/v1/treasury/outbound_payments", "&financial_account=fa_1"), list_(false, `{"id":"zz","object":"treasury.outbound_payment"}`, `{"id":"obp_1","object":"treasury.outbound_payment","amount":5000,"currency":"usd","status":"processing","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"treasury.outbound_payments.retrieve /v1/treasury/outbound_payments/obp_1", `{"id":"obp_1","object":"treasury.outbound_payment","amount":5000,"currency":"usd","status":"processing","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "outbound payment absent", call: "POST /v1/treasury/outbound_payments amount=5000&currency=usd&financial_account=fa_1", bound: "exact outflow 50.00 USD", want: "absent", looks: []looked{
		{sinceCall("treasury.outbound_payments.list", "/v1/treasury/outbound_payments", "&financial_account=fa_1"), list_(false, `{"id":"zz","object":"treasury.outbound_payment"}`)},
	}},
	{name: "outbound payment of an account that is not known", call: "POST /v1/treasury/outbound_payments amount=5000&currency=usd", bound: "exact outflow 50.00 USD", want: "?"},
	{name: "outbound payment, later returned", call: "POST /v1/treasury/outbound_payments amount=5000&currency=usd&financial_account=fa_1", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", objects: "obp_1", age: 9 * day, want: "executed", looks: []looked{
		{"treasury.outbound_payments.retrieve /v1/treasury/outbound_payments/obp_1", `{"id":"obp_1","object":"treasury.outbound_payment","amount":5000,"currency":"usd","status":"returned","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "outbound payment, posted for good", call: "POST /v1/treasury/outbound_payments amount=5000&currency=usd&financial_account=fa_1", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", objects: "obp_1", age: 15 * day, want: "executed outflow 50.00 USD", looks: []looked{
		{"treasury.outbound_payments.retrieve /v1/treasury/outbound_payments/obp_1", `{"id":"obp_1","object":"treasury.outbound_payment","amount":5000,"currency":"usd","status":"posted","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "outbound payment canceled", call: "POST /v1/treasury/outbound_payments/obp_1/cancel", bound: "exact nothing on obp_1", want: "executed on obp_1", looks: []looked{
		{"treasury.outbound_payments.retrieve /v1/treasury/outbound_payments/obp_1", `{"id":"obp_1","object":"treasury.outbound_payment","amount":5000,"currency":"usd","status":"canceled","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "outbound transfer", call: "POST /v1/treasury/outbound_transfers amount=5000&currency=usd&financial_account=fa_1", bound: "exact outflow 50.00 USD", want: "pending outflow 50.00 USD again 24h", looks: []looked{
		{"treasury.outbound_transfers.list /v1/treasury/outbound_transfers?limit=100&financial_account=fa_1", list_(false, `{"id":"zz","object":"treasury.outbound_transfer"}`, `{"id":"obt_1","object":"treasury.outbound_transfer","amount":5000,"currency":"usd","status":"processing","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"treasury.outbound_transfers.retrieve /v1/treasury/outbound_transfers/obt_1", `{"id":"obt_1","object":"treasury.outbound_transfer","amount":5000,"currency":"usd","status":"processing","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "outbound transfer absent", call: "POST /v1/treasury/outbound_transfers amount=5000&currency=usd&financial_account=fa_1", bound: "exact outflow 50.00 USD", want: "absent", looks: []looked{
		{"treasury.outbound_transfers.list /v1/treasury/outbound_transfers?limit=100&financial_account=fa_1", list_(false, `{"id":"zz","object":"treasury.outbound_transfer"}`)},
	}},
	{name: "outbound transfer of an account that is not known", call: "POST /v1/treasury/outbound_transfers amount=5000&currency=usd", bound: "exact outflow 50.00 USD", want: "?"},
	{name: "outbound transfer, later returned", call: "POST /v1/treasury/outbound_transfers amount=5000&currency=usd&financial_account=fa_1", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", objects: "obt_1", age: 9 * day, want: "executed", looks: []looked{
		{"treasury.outbound_transfers.retrieve /v1/treasury/outbound_transfers/obt_1", `{"id":"obt_1","object":"treasury.outbound_transfer","amount":5000,"currency":"usd","status":"returned","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "outbound transfer, posted for good", call: "POST /v1/treasury/outbound_transfers amount=5000&currency=usd&financial_account=fa_1", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", objects: "obt_1", age: 15 * day, want: "executed outflow 50.00 USD", looks: []looked{
		{"treasury.outbound_transfers.retrieve /v1/treasury/outbound_transfers/obt_1", `{"id":"obt_1","object":"treasury.outbound_transfer","amount":5000,"currency":"usd","status":"posted","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "outbound transfer canceled", call: "POST /v1/treasury/outbound_transfers/obt_1/cancel", bound: "exact nothing on obt_1", want: "executed on obt_1", looks: []looked{
		{"treasury.outbound_transfers.retrieve /v1/treasury/outbound_transfers/obt_1", `{"id":"obt_1","object":"treasury.outbound_transfer","amount":5000,"currency":"usd","status":"canceled","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "inbound transfer", call: "POST /v1/treasury/inbound_transfers amount=5000&currency=usd&financial_account=fa_1", bound: "exact charge 50.00 USD", want: "pending charge 50.00 USD again 24h", looks: []looked{
		{"treasury.inbound_transfers.list /v1/treasury/inbound_transfers?limit=100&financial_account=fa_1", list_(false, `{"id":"zz","object":"treasury.inbound_transfer"}`, `{"id":"ibt_1","object":"treasury.inbound_transfer","amount":5000,"currency":"usd","status":"processing","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"treasury.inbound_transfers.retrieve /v1/treasury/inbound_transfers/ibt_1", `{"id":"ibt_1","object":"treasury.inbound_transfer","amount":5000,"currency":"usd","status":"processing","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "inbound transfer absent", call: "POST /v1/treasury/inbound_transfers amount=5000&currency=usd&financial_account=fa_1", bound: "exact charge 50.00 USD", want: "absent", looks: []looked{
		{"treasury.inbound_transfers.list /v1/treasury/inbound_transfers?limit=100&financial_account=fa_1", list_(false, `{"id":"zz","object":"treasury.inbound_transfer"}`)},
	}},
	{name: "inbound transfer of an account that is not known", call: "POST /v1/treasury/inbound_transfers amount=5000&currency=usd", bound: "exact charge 50.00 USD", want: "?"},
	{name: "inbound transfer, later failed", call: "POST /v1/treasury/inbound_transfers amount=5000&currency=usd&financial_account=fa_1", bound: "exact charge 50.00 USD", pending: "charge 50.00 USD", objects: "ibt_1", want: "executed", looks: []looked{
		{"treasury.inbound_transfers.retrieve /v1/treasury/inbound_transfers/ibt_1", `{"id":"ibt_1","object":"treasury.inbound_transfer","amount":5000,"currency":"usd","status":"failed","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "inbound transfer canceled", call: "POST /v1/treasury/inbound_transfers/ibt_1/cancel", bound: "exact nothing on ibt_1", want: "executed on ibt_1", looks: []looked{
		{"treasury.inbound_transfers.retrieve /v1/treasury/inbound_transfers/ibt_1", `{"id":"ibt_1","object":"treasury.inbound_transfer","amount":5000,"currency":"usd","status":"canceled","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "credit_reversal", call: "POST /v1/treasury/credit_reversals received_credit=rc_1", bound: "exact outflow 50.00 USD", want: "pending outflow 50.00 USD again 24h", looks: []looked{
		{"treasury.received_credits.retrieve /v1/treasury/received_credits/rc_1", `{"id":"rc_1","object":"treasury.received_credit","amount":5000,"currency":"usd","status":"succeeded","linked_flows":{"credit_reversal":"credrev_1"}}`},
		{"treasury.credit_reversals.retrieve /v1/treasury/credit_reversals/credrev_1", `{"id":"credrev_1","object":"treasury.credit_reversal","amount":5000,"currency":"usd","status":"processing","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "credit_reversal by another call", call: "POST /v1/treasury/credit_reversals received_credit=rc_1", bound: "exact outflow 50.00 USD", want: "?", looks: []looked{
		{"treasury.received_credits.retrieve /v1/treasury/received_credits/rc_1", `{"id":"rc_1","object":"treasury.received_credit","amount":5000,"currency":"usd","status":"succeeded","linked_flows":{"credit_reversal":"credrev_1"}}`},
		{"treasury.credit_reversals.retrieve /v1/treasury/credit_reversals/credrev_1", `{"id":"credrev_1","object":"treasury.credit_reversal","amount":5000,"currency":"usd","status":"processing"}`},
	}},
	{name: "credit_reversal not there", call: "POST /v1/treasury/credit_reversals received_credit=rc_1", bound: "exact outflow 50.00 USD", want: "?", looks: []looked{
		{"treasury.received_credits.retrieve /v1/treasury/received_credits/rc_1", `{"id":"rc_1","object":"treasury.received_credit","amount":5000,"currency":"usd","status":"succeeded","linked_flows":{"credit_reversal":null}}`},
	}},
	{name: "credit_reversal, later failed", call: "POST /v1/treasury/credit_reversals received_credit=rc_1", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", objects: "credrev_1", want: "executed", looks: []looked{
		{"treasury.credit_reversals.retrieve /v1/treasury/credit_reversals/credrev_1", `{"id":"credrev_1","object":"treasury.credit_reversal","amount":5000,"currency":"usd","status":"failed","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "debit_reversal", call: "POST /v1/treasury/debit_reversals received_debit=rd_1", bound: "exact charge 50.00 USD", want: "pending charge 50.00 USD again 24h", looks: []looked{
		{"treasury.received_debits.retrieve /v1/treasury/received_debits/rd_1", `{"id":"rd_1","object":"treasury.received_debit","amount":5000,"currency":"usd","status":"succeeded","linked_flows":{"debit_reversal":"debrev_1"}}`},
		{"treasury.debit_reversals.retrieve /v1/treasury/debit_reversals/debrev_1", `{"id":"debrev_1","object":"treasury.debit_reversal","amount":5000,"currency":"usd","status":"processing","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "debit_reversal by another call", call: "POST /v1/treasury/debit_reversals received_debit=rd_1", bound: "exact charge 50.00 USD", want: "?", looks: []looked{
		{"treasury.received_debits.retrieve /v1/treasury/received_debits/rd_1", `{"id":"rd_1","object":"treasury.received_debit","amount":5000,"currency":"usd","status":"succeeded","linked_flows":{"debit_reversal":"debrev_1"}}`},
		{"treasury.debit_reversals.retrieve /v1/treasury/debit_reversals/debrev_1", `{"id":"debrev_1","object":"treasury.debit_reversal","amount":5000,"currency":"usd","status":"processing"}`},
	}},
	{name: "debit_reversal not there", call: "POST /v1/treasury/debit_reversals received_debit=rd_1", bound: "exact charge 50.00 USD", want: "?", looks: []looked{
		{"treasury.received_debits.retrieve /v1/treasury/received_debits/rd_1", `{"id":"rd_1","object":"treasury.received_debit","amount":5000,"currency":"usd","status":"succeeded","linked_flows":{"debit_reversal":null}}`},
	}},
	{name: "debit_reversal, later failed", call: "POST /v1/treasury/debit_reversals received_debit=rd_1", bound: "exact charge 50.00 USD", pending: "charge 50.00 USD", objects: "debrev_1", want: "executed", looks: []looked{
		{"treasury.debit_reversals.retrieve /v1/treasury/debit_reversals/debrev_1", `{"id":"debrev_1","object":"treasury.debit_reversal","amount":5000,"currency":"usd","status":"failed","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "invoice with a ceiling", call: "POST /v1/invoices customer=cus_1", bound: "most charge 80.00 USD", want: "pending held charge 80.00 USD on in_1 again 24h", looks: []looked{
		{sinceCall("invoices.list", "/v1/invoices", ""), list_(false, `{"id":"zz","object":"invoice"}`, `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"draft","auto_advance":true,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"draft","auto_advance":true,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "invoice that stays a draft", call: "POST /v1/invoices customer=cus_1&auto_advance=false", bound: "exact nothing", want: "executed"},
	{name: "invoice absent", call: "POST /v1/invoices customer=cus_1", bound: "most charge 80.00 USD", want: "absent", looks: []looked{
		{sinceCall("invoices.list", "/v1/invoices", ""), list_(false, `{"id":"zz","object":"invoice"}`)},
	}},
	{name: "finalize", call: "POST /v1/invoices/in_1/finalize", bound: "exact charge 50.00 USD on in_1", want: "executed charge 50.00 USD on in_1", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":5000,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "finalize draft", call: "POST /v1/invoices/in_1/finalize", bound: "exact charge 50.00 USD on in_1", want: "?", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"draft","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "finalize of a void one", call: "POST /v1/invoices/in_1/finalize", bound: "exact charge 50.00 USD on in_1", want: "executed on in_1", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"void","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "finalize, later paid", call: "POST /v1/invoices/in_1/finalize", bound: "exact charge 50.00 USD on in_1", pending: "-", want: "executed charge 50.00 USD on in_1", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":5000,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "finalize, later open", call: "POST /v1/invoices/in_1/finalize", bound: "exact charge 50.00 USD on in_1", pending: "-", want: "pending held charge 50.00 USD on in_1 again 24h", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"open","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "finalize, later uncollectible", call: "POST /v1/invoices/in_1/finalize", bound: "exact charge 50.00 USD on in_1", pending: "-", want: "pending held charge 50.00 USD on in_1 again 24h", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"uncollectible","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "finalize, later void", call: "POST /v1/invoices/in_1/finalize", bound: "exact charge 50.00 USD on in_1", pending: "-", want: "executed on in_1", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"void","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "pay", call: "POST /v1/invoices/in_1/pay", bound: "exact charge 50.00 USD on in_1", want: "executed charge 50.00 USD on in_1", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":5000,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "pay draft", call: "POST /v1/invoices/in_1/pay", bound: "exact charge 50.00 USD on in_1", want: "?", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"draft","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "pay of a void one", call: "POST /v1/invoices/in_1/pay", bound: "exact charge 50.00 USD on in_1", want: "executed on in_1", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"void","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "pay, later paid", call: "POST /v1/invoices/in_1/pay", bound: "exact charge 50.00 USD on in_1", pending: "-", want: "executed charge 50.00 USD on in_1", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":5000,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "pay, later open", call: "POST /v1/invoices/in_1/pay", bound: "exact charge 50.00 USD on in_1", pending: "-", want: "pending held charge 50.00 USD on in_1 again 24h", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"open","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "pay, later uncollectible", call: "POST /v1/invoices/in_1/pay", bound: "exact charge 50.00 USD on in_1", pending: "-", want: "pending held charge 50.00 USD on in_1 again 24h", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"uncollectible","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "pay, later void", call: "POST /v1/invoices/in_1/pay", bound: "exact charge 50.00 USD on in_1", pending: "-", want: "executed on in_1", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"void","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "send", call: "POST /v1/invoices/in_1/send", bound: "exact charge 50.00 USD on in_1", want: "executed charge 50.00 USD on in_1", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":5000,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "send draft", call: "POST /v1/invoices/in_1/send", bound: "exact charge 50.00 USD on in_1", want: "?", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"draft","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "send of a void one", call: "POST /v1/invoices/in_1/send", bound: "exact charge 50.00 USD on in_1", want: "executed on in_1", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"void","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "send, later paid", call: "POST /v1/invoices/in_1/send", bound: "exact charge 50.00 USD on in_1", pending: "-", want: "executed charge 50.00 USD on in_1", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":5000,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "send, later open", call: "POST /v1/invoices/in_1/send", bound: "exact charge 50.00 USD on in_1", pending: "-", want: "pending held charge 50.00 USD on in_1 again 24h", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"open","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "send, later uncollectible", call: "POST /v1/invoices/in_1/send", bound: "exact charge 50.00 USD on in_1", pending: "-", want: "pending held charge 50.00 USD on in_1 again 24h", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"uncollectible","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "send, later void", call: "POST /v1/invoices/in_1/send", bound: "exact charge 50.00 USD on in_1", pending: "-", want: "executed on in_1", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"void","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "finalize open", call: "POST /v1/invoices/in_1/finalize", bound: "exact charge 50.00 USD on in_1", want: "pending held charge 50.00 USD on in_1 again 24h", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"open","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "pay open", call: "POST /v1/invoices/in_1/pay", bound: "exact charge 50.00 USD on in_1", want: "?", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"open","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "pay the rest", call: "POST /v1/invoices/in_1/pay", bound: "most charge 20.00 USD on in_1", want: "executed charge 20.00 USD on in_1", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":5000,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "pay outside", call: "POST /v1/invoices/in_1/pay paid_out_of_band=true", bound: "exact nothing on in_1", want: "executed on in_1", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":5000,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "void", call: "POST /v1/invoices/in_1/void", bound: "exact nothing on in_1", want: "executed on in_1", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"void","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "void open", call: "POST /v1/invoices/in_1/void", bound: "exact nothing on in_1", want: "?", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"open","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "uncollectible", call: "POST /v1/invoices/in_1/mark_uncollectible", bound: "exact nothing on in_1", want: "executed on in_1", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"uncollectible","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "invoice armed", call: "POST /v1/invoices/in_1 auto_advance=true", bound: "exact charge 50.00 USD on in_1", want: "pending held charge 50.00 USD on in_1 again 24h", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"draft","auto_advance":true,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "invoice not armed", call: "POST /v1/invoices/in_1 auto_advance=true", bound: "exact charge 50.00 USD on in_1", want: "?", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"draft","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "item", call: "POST /v1/invoiceitems amount=5000&currency=usd&customer=cus_1", bound: "exact charge 50.00 USD", want: "pending held charge 50.00 USD on ii_1 again 168h", looks: []looked{
		{sinceCall("invoiceitems.list", "/v1/invoiceitems", ""), list_(false, `{"id":"zz","object":"invoiceitem"}`, `{"id":"ii_1","object":"invoiceitem","amount":5000,"currency":"usd","invoice":null,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"invoiceitems.retrieve /v1/invoiceitems/ii_1", `{"id":"ii_1","object":"invoiceitem","amount":5000,"currency":"usd","invoice":null,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "item absent", call: "POST /v1/invoiceitems amount=5000&currency=usd&customer=cus_1", bound: "exact charge 50.00 USD", want: "absent", looks: []looked{
		{sinceCall("invoiceitems.list", "/v1/invoiceitems", ""), list_(false, `{"id":"zz","object":"invoiceitem"}`)},
	}},
	{name: "item, later paid", call: "POST /v1/invoiceitems amount=5000&currency=usd&customer=cus_1", bound: "exact charge 50.00 USD", pending: "-", objects: "ii_1", want: "executed charge 50.00 USD on ii_1", looks: []looked{
		{"invoiceitems.retrieve /v1/invoiceitems/ii_1", `{"id":"ii_1","object":"invoiceitem","amount":5000,"currency":"usd","invoice":"in_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":9000,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "item, later void", call: "POST /v1/invoiceitems amount=5000&currency=usd&customer=cus_1", bound: "exact charge 50.00 USD", pending: "-", objects: "ii_1", want: "executed on ii_1", looks: []looked{
		{"invoiceitems.retrieve /v1/invoiceitems/ii_1", `{"id":"ii_1","object":"invoiceitem","amount":5000,"currency":"usd","invoice":"in_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"void","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "item, later on an open invoice", call: "POST /v1/invoiceitems amount=5000&currency=usd&customer=cus_1", bound: "exact charge 50.00 USD", pending: "-", objects: "ii_1", want: "pending held charge 50.00 USD on ii_1 again 168h", looks: []looked{
		{"invoiceitems.retrieve /v1/invoiceitems/ii_1", `{"id":"ii_1","object":"invoiceitem","amount":5000,"currency":"usd","invoice":"in_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"open","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "item on an invoice", call: "POST /v1/invoiceitems amount=5000&currency=usd&customer=cus_1&invoice=in_1", bound: "most charge 80.00 USD on in_1", want: "pending held charge 80.00 USD on in_1 again 24h", looks: []looked{
		{sinceCall("invoiceitems.list", "/v1/invoiceitems", ""), list_(false, `{"id":"ii_1","object":"invoiceitem","amount":5000,"currency":"usd","invoice":"in_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"invoiceitems.retrieve /v1/invoiceitems/ii_1", `{"id":"ii_1","object":"invoiceitem","amount":5000,"currency":"usd","invoice":"in_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"draft","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "item on an invoice, on another", call: "POST /v1/invoiceitems amount=5000&currency=usd&customer=cus_1&invoice=in_1", bound: "most charge 80.00 USD on in_1", want: "?", looks: []looked{
		{sinceCall("invoiceitems.list", "/v1/invoiceitems", ""), list_(false, `{"id":"ii_1","object":"invoiceitem","amount":5000,"currency":"usd","invoice":"in_2","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"invoiceitems.retrieve /v1/invoiceitems/ii_1", `{"id":"ii_1","object":"invoiceitem","amount":5000,"currency":"usd","invoice":"in_2","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "item on an invoice, later paid", call: "POST /v1/invoiceitems amount=5000&currency=usd&customer=cus_1&invoice=in_1", bound: "most charge 80.00 USD on in_1", pending: "-", objects: "ii_1 in_1", want: "executed charge 80.00 USD on in_1", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":8000,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "credit note", call: "POST /v1/credit_notes invoice=in_1&amount=5000", bound: "most outflow 50.00 USD", want: "executed outflow 50.00 USD", looks: []looked{
		{sinceCall("credit_notes.list", "/v1/credit_notes", ""), list_(false, `{"id":"zz","object":"credit_note"}`, `{"id":"cn_1","object":"credit_note","amount":5000,"currency":"usd","status":"issued","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"credit_notes.retrieve /v1/credit_notes/cn_1", `{"id":"cn_1","object":"credit_note","amount":5000,"currency":"usd","status":"issued","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "customer credit", call: "POST /v1/customers/cus_1/balance_transactions amount=-5000&currency=usd", bound: "exact outflow 50.00 USD", want: "executed outflow 50.00 USD", looks: []looked{
		{sinceCall("customers.balance_transactions.list", "/v1/customers/cus_1/balance_transactions", ""), list_(false, `{"id":"zz","object":"customer_balance_transaction"}`, `{"id":"cbtxn_1","object":"customer_balance_transaction","amount":-5000,"currency":"usd","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"customers.balance_transactions.retrieve /v1/customers/cus_1/balance_transactions/cbtxn_1", `{"id":"cbtxn_1","object":"customer_balance_transaction","amount":-5000,"currency":"usd","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "credit grant", call: "POST /v1/billing/credit_grants amount[type]=monetary", bound: "exact outflow 50.00 USD", want: "executed outflow 50.00 USD", looks: []looked{
		{"billing.credit_grants.list /v1/billing/credit_grants?limit=100", list_(false, `{"id":"zz","object":"billing.credit_grant"}`, `{"id":"credgr_1","object":"billing.credit_grant","amount":{"monetary":{"value":5000,"currency":"usd"}},"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"billing.credit_grants.retrieve /v1/billing/credit_grants/credgr_1", `{"id":"credgr_1","object":"billing.credit_grant","amount":{"monetary":{"value":5000,"currency":"usd"}},"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "climate order", call: "POST /v1/climate/orders amount=5000&currency=usd&product=x", bound: "most outflow 55.00 USD", want: "executed outflow 52.00 USD", looks: []looked{
		{"climate.orders.list /v1/climate/orders?limit=100", list_(false, `{"id":"zz","object":"climate.order"}`, `{"id":"climorder_1","object":"climate.order","amount_total":5200,"currency":"usd","status":"confirmed","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"climate.orders.retrieve /v1/climate/orders/climorder_1", `{"id":"climorder_1","object":"climate.order","amount_total":5200,"currency":"usd","status":"confirmed","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "dispute closed", call: "POST /v1/disputes/dp_1/close", bound: "exact outflow 50.00 USD", want: "executed outflow 50.00 USD", looks: []looked{
		{"disputes.retrieve /v1/disputes/dp_1", `{"id":"dp_1","object":"dispute","amount":5000,"currency":"usd","status":"lost","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "dispute of a charge", call: "POST /v1/charges/ch_1/dispute/close", bound: "exact outflow 50.00 USD", want: "executed outflow 50.00 USD", looks: []looked{
		{"charges.dispute.retrieve /v1/charges/ch_1/dispute", `{"id":"dp_1","object":"dispute","amount":5000,"currency":"usd","status":"lost","charge":"ch_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "dispute of a charge, open", call: "POST /v1/charges/ch_1/dispute/close", bound: "exact outflow 50.00 USD", want: "?", looks: []looked{
		{"charges.dispute.retrieve /v1/charges/ch_1/dispute", `{"id":"dp_1","object":"dispute","amount":5000,"currency":"usd","status":"needs_response","charge":"ch_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "dispute of another charge", call: "POST /v1/charges/ch_1/dispute/close", bound: "exact outflow 50.00 USD", want: "?", looks: []looked{
		{"charges.dispute.retrieve /v1/charges/ch_1/dispute", `{"id":"dp_1","object":"dispute","amount":5000,"currency":"usd","status":"lost","charge":"ch_2","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "lines", call: "POST /v1/invoices/in_1/add_lines", bound: "most charge 50.00 USD on in_1", want: "?", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"draft","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "lines, later paid", call: "POST /v1/invoices/in_1/add_lines", bound: "most charge 50.00 USD on in_1", pending: "-", want: "executed charge 50.00 USD on in_1", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":5000,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "dispute not closed", call: "POST /v1/disputes/dp_1/close", bound: "exact outflow 50.00 USD", want: "?", looks: []looked{
		{"disputes.retrieve /v1/disputes/dp_1", `{"id":"dp_1","object":"dispute","amount":5000,"currency":"usd","status":"needs_response","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "authorization approved", call: "POST /v1/issuing/authorizations/iauth_1/approve", bound: "most outflow 50.00 USD", want: "pending outflow 50.00 USD again 168h", looks: []looked{
		{"issuing.authorizations.retrieve /v1/issuing/authorizations/iauth_1", `{"id":"iauth_1","object":"issuing.authorization","amount":5000,"currency":"usd","approved":true,"status":"pending","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "authorization not approved", call: "POST /v1/issuing/authorizations/iauth_1/approve", bound: "most outflow 50.00 USD", want: "?", looks: []looked{
		{"issuing.authorizations.retrieve /v1/issuing/authorizations/iauth_1", `{"id":"iauth_1","object":"issuing.authorization","amount":5000,"currency":"usd","approved":false,"status":"pending","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "checkout", call: "POST /v1/checkout/sessions mode=payment", bound: "most charge 50.00 USD", want: "pending held charge 50.00 USD on cs_1 again 24h", looks: []looked{
		{sinceCall("checkout.sessions.list", "/v1/checkout/sessions", ""), list_(false, `{"id":"zz","object":"checkout.session"}`, `{"id":"cs_1","object":"checkout.session","amount_total":5000,"currency":"usd","status":"open","payment_status":"unpaid","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"checkout.sessions.retrieve /v1/checkout/sessions/cs_1", `{"id":"cs_1","object":"checkout.session","amount_total":5000,"currency":"usd","status":"open","payment_status":"unpaid","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "checkout absent", call: "POST /v1/checkout/sessions mode=payment", bound: "most charge 50.00 USD", want: "absent", looks: []looked{
		{sinceCall("checkout.sessions.list", "/v1/checkout/sessions", ""), list_(false, `{"id":"zz","object":"checkout.session"}`)},
	}},
	{name: "checkout, later paid", call: "POST /v1/checkout/sessions mode=payment", bound: "most charge 50.00 USD", pending: "-", objects: "cs_1", want: "executed charge 50.00 USD on cs_1", looks: []looked{
		{"checkout.sessions.retrieve /v1/checkout/sessions/cs_1", `{"id":"cs_1","object":"checkout.session","amount_total":5000,"currency":"usd","status":"complete","payment_status":"paid","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "checkout, later expired", call: "POST /v1/checkout/sessions mode=payment", bound: "most charge 50.00 USD", pending: "-", objects: "cs_1", want: "executed on cs_1", looks: []looked{
		{"checkout.sessions.retrieve /v1/checkout/sessions/cs_1", `{"id":"cs_1","object":"checkout.session","amount_total":5000,"currency":"usd","status":"expired","payment_status":"unpaid","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "checkout expired", call: "POST /v1/checkout/sessions/cs_1/expire", bound: "exact nothing on cs_1", want: "executed on cs_1", looks: []looked{
		{"checkout.sessions.retrieve /v1/checkout/sessions/cs_1", `{"id":"cs_1","object":"checkout.session","amount_total":5000,"currency":"usd","status":"expired","payment_status":"unpaid","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "link", call: "POST /v1/payment_links", bound: "most charge 500.00 USD", want: "pending held charge 500.00 USD on plink_1 again 168h", looks: []looked{
		{"payment_links.list /v1/payment_links?limit=100", list_(false, `{"id":"plink_1","object":"payment_link","active":true,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"payment_links.retrieve /v1/payment_links/plink_1", `{"id":"plink_1","object":"payment_link","active":true,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
		{"checkout.sessions.list /v1/checkout/sessions?payment_link=plink_1&limit=100", list_(false)},
	}},
	{name: "link absent", call: "POST /v1/payment_links", bound: "most charge 500.00 USD", want: "absent", looks: []looked{
		{"payment_links.list /v1/payment_links?limit=100", list_(false)},
	}},
	{name: "link, later used", call: "POST /v1/payment_links", bound: "most charge 500.00 USD", pending: "-", objects: "plink_1", want: "pending charge 50.00 USD held charge 450.00 USD on plink_1 again 168h", looks: []looked{
		{"payment_links.retrieve /v1/payment_links/plink_1", `{"id":"plink_1","object":"payment_link","active":true,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
		{"checkout.sessions.list /v1/checkout/sessions?payment_link=plink_1&limit=100", list_(false, `{"id":"cs_1","object":"checkout.session","amount_total":5000,"currency":"usd","status":"complete","payment_status":"paid","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`, `{"id":"cs_2","object":"checkout.session","amount_total":5000,"currency":"usd","status":"open","payment_status":"unpaid","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`, `{"id":"cs_3","object":"checkout.session","amount_total":5000,"currency":"usd","status":"expired","payment_status":"unpaid","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
	}},
	{name: "link, later off", call: "POST /v1/payment_links", bound: "most charge 500.00 USD", pending: "-", objects: "plink_1", want: "executed charge 100.00 USD on plink_1", looks: []looked{
		{"payment_links.retrieve /v1/payment_links/plink_1", `{"id":"plink_1","object":"payment_link","active":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
		{"checkout.sessions.list /v1/checkout/sessions?payment_link=plink_1&limit=100", list_(true, `{"id":"cs_1","object":"checkout.session","amount_total":5000,"currency":"usd","status":"complete","payment_status":"paid","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"checkout.sessions.list /v1/checkout/sessions?payment_link=plink_1&limit=100&starting_after=cs_1", list_(false, `{"id":"cs_2","object":"checkout.session","amount_total":5000,"currency":"usd","status":"complete","payment_status":"paid","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`, `{"id":"cs_3","object":"checkout.session","amount_total":5000,"currency":"usd","status":"expired","payment_status":"unpaid","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
	}},
	{name: "link, later off and a session open", call: "POST /v1/payment_links", bound: "most charge 500.00 USD", pending: "-", objects: "plink_1", want: "pending charge 50.00 USD held charge 50.00 USD on plink_1 again 168h", looks: []looked{
		{"payment_links.retrieve /v1/payment_links/plink_1", `{"id":"plink_1","object":"payment_link","active":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
		{"checkout.sessions.list /v1/checkout/sessions?payment_link=plink_1&limit=100", list_(false, `{"id":"cs_1","object":"checkout.session","amount_total":5000,"currency":"usd","status":"complete","payment_status":"paid","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`, `{"id":"cs_2","object":"checkout.session","amount_total":5000,"currency":"usd","status":"open","payment_status":"unpaid","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
	}},
	{name: "link switched off", call: "POST /v1/payment_links/plink_1 active=false", bound: "exact nothing on plink_1", want: "executed on plink_1", looks: []looked{
		{"payment_links.retrieve /v1/payment_links/plink_1", `{"id":"plink_1","object":"payment_link","active":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "link still on", call: "POST /v1/payment_links/plink_1 active=false", bound: "exact nothing on plink_1", want: "?", looks: []looked{
		{"payment_links.retrieve /v1/payment_links/plink_1", `{"id":"plink_1","object":"payment_link","active":true,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "quote", call: "POST /v1/quotes/qt_1/accept", bound: "most charge 50.00 USD", want: "pending held charge 50.00 USD on in_1 again 24h", looks: []looked{
		{"quotes.retrieve /v1/quotes/qt_1", `{"id":"qt_1","object":"quote","status":"accepted","amount_total":5000,"currency":"usd","invoice":"in_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"open","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "quote, later paid", call: "POST /v1/quotes/qt_1/accept", bound: "most charge 50.00 USD", pending: "-", objects: "qt_1 in_1", want: "executed charge 50.00 USD on in_1", looks: []looked{
		{"quotes.retrieve /v1/quotes/qt_1", `{"id":"qt_1","object":"quote","status":"accepted","amount_total":5000,"currency":"usd","invoice":"in_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":5000,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "quote that recurs", call: "POST /v1/quotes/qt_1/accept", bound: "most charge 50.00 USD", want: "executed charge 50.00 USD on in_1 flag recurring", looks: []looked{
		{"quotes.retrieve /v1/quotes/qt_1", `{"id":"qt_1","object":"quote","status":"accepted","amount_total":5000,"currency":"usd","invoice":"in_1","subscription":"sub_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":5000,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "quote open", call: "POST /v1/quotes/qt_1/accept", bound: "most charge 50.00 USD", want: "?", looks: []looked{
		{"quotes.retrieve /v1/quotes/qt_1", `{"id":"qt_1","object":"quote","status":"open","amount_total":5000,"currency":"usd","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "quote without an invoice", call: "POST /v1/quotes/qt_1/accept", bound: "most charge 50.00 USD", want: "pending held charge 50.00 USD on qt_1 again 24h flag recurring", looks: []looked{
		{"quotes.retrieve /v1/quotes/qt_1", `{"id":"qt_1","object":"quote","status":"accepted","amount_total":5000,"currency":"usd","subscription":"sub_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "subscription", call: "POST /v1/subscriptions customer=cus_1", bound: "most charge 60.00 USD", want: "executed charge 50.00 USD on in_1 flag recurring", looks: []looked{
		{sinceCall("subscriptions.list", "/v1/subscriptions", "&status=all"), list_(false, `{"id":"sub_1","object":"subscription","status":"active","latest_invoice":"in_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"subscriptions.retrieve /v1/subscriptions/sub_1", `{"id":"sub_1","object":"subscription","status":"active","latest_invoice":"in_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":5000,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false,"billing_reason":"subscription_create","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "subscription of a customer", call: "POST /v1/customers/cus_1/subscriptions", bound: "most charge 60.00 USD", want: "executed charge 50.00 USD on in_1 flag recurring", looks: []looked{
		{sinceCall("subscriptions.list", "/v1/subscriptions", "&status=all"), list_(false, `{"id":"sub_1","object":"subscription","status":"active","latest_invoice":"in_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"subscriptions.retrieve /v1/subscriptions/sub_1", `{"id":"sub_1","object":"subscription","status":"active","latest_invoice":"in_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":5000,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false,"billing_reason":"subscription_create","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "subscription of a later cycle", call: "POST /v1/subscriptions customer=cus_1", bound: "most charge 60.00 USD", want: "?", looks: []looked{
		{sinceCall("subscriptions.list", "/v1/subscriptions", "&status=all"), list_(false, `{"id":"sub_1","object":"subscription","status":"active","latest_invoice":"in_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"subscriptions.retrieve /v1/subscriptions/sub_1", `{"id":"sub_1","object":"subscription","status":"active","latest_invoice":"in_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":5000,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false,"billing_reason":"subscription_cycle","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "subscription that was changed since", call: "POST /v1/subscriptions customer=cus_1", bound: "most charge 60.00 USD", want: "?", looks: []looked{
		{sinceCall("subscriptions.list", "/v1/subscriptions", "&status=all"), list_(false, `{"id":"sub_1","object":"subscription","status":"active","latest_invoice":"in_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"subscriptions.retrieve /v1/subscriptions/sub_1", `{"id":"sub_1","object":"subscription","status":"active","latest_invoice":"in_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":5000,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false,"billing_reason":"subscription_update","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "subscription with an invoice by hand", call: "POST /v1/subscriptions customer=cus_1", bound: "most charge 60.00 USD", want: "?", looks: []looked{
		{sinceCall("subscriptions.list", "/v1/subscriptions", "&status=all"), list_(false, `{"id":"sub_1","object":"subscription","status":"active","latest_invoice":"in_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"subscriptions.retrieve /v1/subscriptions/sub_1", `{"id":"sub_1","object":"subscription","status":"active","latest_invoice":"in_1","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":5000,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false,"billing_reason":"manual","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "subscription absent", call: "POST /v1/subscriptions customer=cus_1", bound: "most charge 60.00 USD", want: "absent", looks: []looked{
		{sinceCall("subscriptions.list", "/v1/subscriptions", "&status=all"), list_(false)},
	}},
	{name: "subscription without an invoice", call: "POST /v1/subscriptions customer=cus_1", bound: "most charge 60.00 USD", want: "pending held charge 60.00 USD on sub_1 again 168h flag recurring", looks: []looked{
		{sinceCall("subscriptions.list", "/v1/subscriptions", "&status=all"), list_(false, `{"id":"sub_1","object":"subscription","status":"trialing","latest_invoice":null,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"subscriptions.retrieve /v1/subscriptions/sub_1", `{"id":"sub_1","object":"subscription","status":"trialing","latest_invoice":null,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "subscription, later paid", call: "POST /v1/subscriptions customer=cus_1", bound: "most charge 60.00 USD", pending: "-", objects: "sub_1 in_1", want: "executed charge 50.00 USD on in_1 flag recurring", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":5000,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "subscription, later void", call: "POST /v1/subscriptions customer=cus_1", bound: "most charge 60.00 USD", pending: "-", objects: "sub_1 in_1", want: "executed on in_1 flag recurring", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"void","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "subscriptions/sub_1", call: "POST /v1/subscriptions/sub_1", bound: "most charge 60.00 USD", want: "?"},
	{name: "subscriptions/sub_1, later", call: "POST /v1/subscriptions/sub_1", bound: "most charge 60.00 USD", pending: "-", objects: "sub_1 in_1", want: "pending held charge 50.00 USD on in_1 again 24h flag recurring", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"open","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "subscriptions/sub_1, which has made no invoice", call: "POST /v1/subscriptions/sub_1", bound: "most charge 60.00 USD", pending: "-", objects: "sub_1 in_1", want: "executed charge 60.00 USD flag recurring", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","created":1700000000,"amount_due":50,"amount_paid":50,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "customers/cus_1/subscriptions/sub_1", call: "POST /v1/customers/cus_1/subscriptions/sub_1", bound: "most charge 60.00 USD", want: "?"},
	{name: "customers/cus_1/subscriptions/sub_1, later", call: "POST /v1/customers/cus_1/subscriptions/sub_1", bound: "most charge 60.00 USD", pending: "-", objects: "sub_1 in_1", want: "pending held charge 50.00 USD on in_1 again 24h flag recurring", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"open","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "subscriptions/sub_1/resume", call: "POST /v1/subscriptions/sub_1/resume", bound: "most charge 60.00 USD", want: "?"},
	{name: "subscriptions/sub_1/resume, later", call: "POST /v1/subscriptions/sub_1/resume", bound: "most charge 60.00 USD", pending: "-", objects: "sub_1 in_1", want: "pending held charge 50.00 USD on in_1 again 24h flag recurring", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"open","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "subscriptions/sub_1/migrate", call: "POST /v1/subscriptions/sub_1/migrate", bound: "most charge 60.00 USD", want: "?"},
	{name: "subscriptions/sub_1/migrate, later", call: "POST /v1/subscriptions/sub_1/migrate", bound: "most charge 60.00 USD", pending: "-", objects: "sub_1 in_1", want: "pending held charge 50.00 USD on in_1 again 24h flag recurring", looks: []looked{
		{"invoices.retrieve /v1/invoices/in_1", `{"id":"in_1","object":"invoice","amount_due":5000,"amount_paid":0,"amount_remaining":5000,"currency":"usd","status":"open","auto_advance":false,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "end of DELETE /v1/subscriptions/sub_1", call: "DELETE /v1/subscriptions/sub_1", bound: "exact nothing on sub_1", want: "executed on sub_1", looks: []looked{
		{"subscriptions.retrieve /v1/subscriptions/sub_1", `{"id":"sub_1","object":"subscription","status":"canceled","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "no end of DELETE /v1/subscriptions/sub_1", call: "DELETE /v1/subscriptions/sub_1", bound: "exact nothing on sub_1", want: "?", looks: []looked{
		{"subscriptions.retrieve /v1/subscriptions/sub_1", `{"id":"sub_1","object":"subscription","status":"active","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "end with an invoice of DELETE /v1/subscriptions/sub_1", call: "DELETE /v1/subscriptions/sub_1", bound: "most charge 60.00 USD", want: "executed charge 60.00 USD on sub_1", looks: []looked{
		{"subscriptions.retrieve /v1/subscriptions/sub_1", `{"id":"sub_1","object":"subscription","status":"canceled","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "end of DELETE /v1/customers/cus_1/subscriptions/sub_1", call: "DELETE /v1/customers/cus_1/subscriptions/sub_1", bound: "exact nothing on sub_1", want: "executed on sub_1", looks: []looked{
		{"subscriptions.retrieve /v1/subscriptions/sub_1", `{"id":"sub_1","object":"subscription","status":"canceled","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "no end of DELETE /v1/customers/cus_1/subscriptions/sub_1", call: "DELETE /v1/customers/cus_1/subscriptions/sub_1", bound: "exact nothing on sub_1", want: "?", looks: []looked{
		{"subscriptions.retrieve /v1/subscriptions/sub_1", `{"id":"sub_1","object":"subscription","status":"active","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "end with an invoice of DELETE /v1/customers/cus_1/subscriptions/sub_1", call: "DELETE /v1/customers/cus_1/subscriptions/sub_1", bound: "most charge 60.00 USD", want: "executed charge 60.00 USD on sub_1", looks: []looked{
		{"subscriptions.retrieve /v1/subscriptions/sub_1", `{"id":"sub_1","object":"subscription","status":"canceled","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "subscription item", call: "POST /v1/subscription_items subscription=sub_1&price=price_1", bound: "most charge 60.00 USD", want: "executed charge 60.00 USD", looks: []looked{
		{"subscription_items.list /v1/subscription_items?limit=100&subscription=sub_1", list_(false, `{"id":"zz","object":"subscription_item"}`, `{"id":"si_1","object":"subscription_item","created":1795435200,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"subscription_items.retrieve /v1/subscription_items/si_1", `{"id":"si_1","object":"subscription_item","created":1795435200,"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "schedule", call: "POST /v1/subscription_schedules customer=cus_1", bound: "most charge 60.00 USD", want: "executed charge 60.00 USD", looks: []looked{
		{sinceCall("subscription_schedules.list", "/v1/subscription_schedules", ""), list_(false, `{"id":"zz","object":"subscription_schedule"}`, `{"id":"sub_sched_1","object":"subscription_schedule","status":"active","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`)},
		{"subscription_schedules.retrieve /v1/subscription_schedules/sub_sched_1", `{"id":"sub_sched_1","object":"subscription_schedule","status":"active","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "schedule ended", call: "POST /v1/subscription_schedules/sub_sched_1/cancel", bound: "exact nothing on sub_sched_1", want: "executed on sub_sched_1", looks: []looked{
		{"subscription_schedules.retrieve /v1/subscription_schedules/sub_sched_1", `{"id":"sub_sched_1","object":"subscription_schedule","status":"canceled","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "v2 payment, later posted", call: "POST /v2/money_management/outbound_payments {\"amount\":{\"value\":5000,\"currency\":\"usd\"},\"from\":{\"currency\":\"usd\",\"financial_account\":\"fa_1\"}}", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", objects: "obp_1", want: "pending outflow 50.00 USD again 168h", looks: []looked{
		{"v2.money_management.outbound_payments.retrieve /v2/money_management/outbound_payments/obp_1", `{"id":"obp_1","object":"v2.money_management.outbound_payment","status":"posted","from":{"debited":{"value":5000,"currency":"usd"}},"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "v2 payment, posted for good", call: "POST /v2/money_management/outbound_payments {\"amount\":{\"value\":5000,\"currency\":\"usd\"},\"from\":{\"currency\":\"usd\",\"financial_account\":\"fa_1\"}}", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", objects: "obp_1", age: 15 * day, want: "executed outflow 50.00 USD", looks: []looked{
		{"v2.money_management.outbound_payments.retrieve /v2/money_management/outbound_payments/obp_1", `{"id":"obp_1","object":"v2.money_management.outbound_payment","status":"posted","from":{"debited":{"value":5000,"currency":"usd"}},"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "v2 payment, later returned", call: "POST /v2/money_management/outbound_payments {\"amount\":{\"value\":5000,\"currency\":\"usd\"},\"from\":{\"currency\":\"usd\",\"financial_account\":\"fa_1\"}}", bound: "exact outflow 50.00 USD", pending: "outflow 50.00 USD", objects: "obp_1", want: "executed", looks: []looked{
		{"v2.money_management.outbound_payments.retrieve /v2/money_management/outbound_payments/obp_1", `{"id":"obp_1","object":"v2.money_management.outbound_payment","status":"returned","from":{"debited":{"value":5000,"currency":"usd"}},"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "v2 payment", call: "POST /v2/money_management/outbound_payments {\"amount\":{\"value\":5000,\"currency\":\"usd\"},\"from\":{\"currency\":\"usd\",\"financial_account\":\"fa_1\"}}", bound: "exact outflow 50.00 USD", want: "pending outflow 50.00 USD again 24h", looks: []looked{
		{"v2.money_management.outbound_payments.list /v2/money_management/outbound_payments?limit=100&created_gte=2026-11-23T11:59:00Z", `{"data":[{"id":"obp_1","object":"v2.money_management.outbound_payment","status":"processing","from":{"debited":{"value":5000,"currency":"usd"}},"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}],"next_page_url":null,"previous_page_url":null}`},
		{"v2.money_management.outbound_payments.retrieve /v2/money_management/outbound_payments/obp_1", `{"id":"obp_1","object":"v2.money_management.outbound_payment","status":"processing","from":{"debited":{"value":5000,"currency":"usd"}},"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "v2 payment on a later page", call: "POST /v2/money_management/outbound_payments {\"amount\":{\"value\":5000,\"currency\":\"usd\"},\"from\":{\"currency\":\"usd\",\"financial_account\":\"fa_1\"}}", bound: "exact outflow 50.00 USD", want: "pending outflow 50.00 USD again 24h", looks: []looked{
		{"v2.money_management.outbound_payments.list /v2/money_management/outbound_payments?limit=100&created_gte=2026-11-23T11:59:00Z", `{"data":[],"next_page_url":"/v2/money_management/outbound_payments?limit=100&page=abc","previous_page_url":null}`},
		{"v2.money_management.outbound_payments.list /v2/money_management/outbound_payments?limit=100&page=abc", `{"data":[{"id":"obp_1","object":"v2.money_management.outbound_payment","status":"processing","from":{"debited":{"value":5000,"currency":"usd"}},"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}],"next_page_url":null,"previous_page_url":null}`},
		{"v2.money_management.outbound_payments.retrieve /v2/money_management/outbound_payments/obp_1", `{"id":"obp_1","object":"v2.money_management.outbound_payment","status":"processing","from":{"debited":{"value":5000,"currency":"usd"}},"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "v2 payment absent", call: "POST /v2/money_management/outbound_payments {\"amount\":{\"value\":5000,\"currency\":\"usd\"},\"from\":{\"currency\":\"usd\",\"financial_account\":\"fa_1\"}}", bound: "exact outflow 50.00 USD", want: "absent", looks: []looked{
		{"v2.money_management.outbound_payments.list /v2/money_management/outbound_payments?limit=100&created_gte=2026-11-23T11:59:00Z", `{"data":[],"next_page_url":null,"previous_page_url":null}`},
	}},
	{name: "v2 payment, the list goes elsewhere", call: "POST /v2/money_management/outbound_payments {\"amount\":{\"value\":5000,\"currency\":\"usd\"},\"from\":{\"currency\":\"usd\",\"financial_account\":\"fa_1\"}}", bound: "exact outflow 50.00 USD", want: "?", looks: []looked{
		{"v2.money_management.outbound_payments.list /v2/money_management/outbound_payments?limit=100&created_gte=2026-11-23T11:59:00Z", `{"data":[],"next_page_url":"https://example.com/v2/money_management/outbound_payments?page=abc","previous_page_url":null}`},
	}},
	{name: "v2 payment canceled", call: "POST /v2/money_management/outbound_payments/obp_1/cancel", bound: "exact nothing on obp_1", want: "executed on obp_1", looks: []looked{
		{"v2.money_management.outbound_payments.retrieve /v2/money_management/outbound_payments/obp_1", `{"id":"obp_1","object":"v2.money_management.outbound_payment","status":"canceled","from":{"debited":{"value":5000,"currency":"usd"}},"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "v2 inbound, later", call: "POST /v2/money_management/inbound_transfers {\"amount\":{\"value\":5000,\"currency\":\"usd\"}}", bound: "exact charge 50.00 USD", pending: "charge 50.00 USD", objects: "ibt_1", want: "pending charge 50.00 USD again 168h", looks: []looked{
		{"v2.money_management.inbound_transfers.retrieve /v2/money_management/inbound_transfers/ibt_1", `{"id":"ibt_1","object":"v2.money_management.inbound_transfer","amount":{"value":5000,"currency":"usd"},"transfer_history":[{"type":"bank_debit_processing","created":"2026-11-23T12:00:00Z"}],"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "v2 inbound, bank_debit_failed", call: "POST /v2/money_management/inbound_transfers {\"amount\":{\"value\":5000,\"currency\":\"usd\"}}", bound: "exact charge 50.00 USD", pending: "charge 50.00 USD", objects: "ibt_1", want: "executed", looks: []looked{
		{"v2.money_management.inbound_transfers.retrieve /v2/money_management/inbound_transfers/ibt_1", `{"id":"ibt_1","object":"v2.money_management.inbound_transfer","amount":{"value":5000,"currency":"usd"},"transfer_history":[{"type":"bank_debit_failed","created":"2026-11-23T12:00:00Z"}],"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "v2 inbound, bank_debit_returned", call: "POST /v2/money_management/inbound_transfers {\"amount\":{\"value\":5000,\"currency\":\"usd\"}}", bound: "exact charge 50.00 USD", pending: "charge 50.00 USD", objects: "ibt_1", want: "executed", looks: []looked{
		{"v2.money_management.inbound_transfers.retrieve /v2/money_management/inbound_transfers/ibt_1", `{"id":"ibt_1","object":"v2.money_management.inbound_transfer","amount":{"value":5000,"currency":"usd"},"transfer_history":[{"type":"bank_debit_returned","created":"2026-11-23T12:00:00Z"}],"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "v2 inbound, done for good", call: "POST /v2/money_management/inbound_transfers {\"amount\":{\"value\":5000,\"currency\":\"usd\"}}", bound: "exact charge 50.00 USD", pending: "charge 50.00 USD", objects: "ibt_1", age: 15 * day, want: "executed charge 50.00 USD", looks: []looked{
		{"v2.money_management.inbound_transfers.retrieve /v2/money_management/inbound_transfers/ibt_1", `{"id":"ibt_1","object":"v2.money_management.inbound_transfer","amount":{"value":5000,"currency":"usd"},"transfer_history":[{"type":"bank_debit_succeeded","created":"2026-11-23T12:00:00Z"}],"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
	{name: "end with an invoice of nothing", call: "DELETE /v1/subscriptions/sub_1", bound: "most charge 0.00 USD", want: "executed"},
	{name: "authorization closed", call: "POST /v1/issuing/authorizations/iauth_1/approve", bound: "most outflow 50.00 USD", pending: "outflow 50.00 USD", age: 9 * day, want: "executed outflow 50.00 USD", looks: []looked{
		{"issuing.authorizations.retrieve /v1/issuing/authorizations/iauth_1", `{"id":"iauth_1","object":"issuing.authorization","amount":5000,"currency":"usd","approved":true,"status":"closed","metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}}`},
	}},
}
