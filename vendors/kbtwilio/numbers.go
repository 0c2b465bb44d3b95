package kbtwilio

import (
	"regexp"
	"strings"
)

// unknownCountry is the country of a number that belongs to none, or whose price does not follow from its country:
// satellites, premium and personal numbers, toll-free numbers, codes that nobody has. No rule and no rate matches it.
const unknownCountry = "?"

// e164 is one number: + and 7 to 15 ASCII digits.
var e164 = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// countryOf is the ISO 3166 country of an E.164 number, or [unknownCountry]. The longest prefix decides, because
// several countries share a calling code, and a text to one of them can cost ten times a text to the other.
func countryOf(number string) string {
	digits := strings.TrimPrefix(number, "+")
	if strings.HasPrefix(digits, "1") {
		return northAmerican(digits)
	}
	for n := min(len(digits), longestPrefix); n > 0; n-- {
		if country, ok := prefixes[digits[:n]]; ok {
			return country
		}
	}
	return unknownCountry
}

// northAmerican reads a number of the plan that twenty-five countries share under +1: three digits of area, seven of
// subscriber. An area code that is not listed is new, or special (900, 500, 800): unknown rather than American.
func northAmerican(digits string) string {
	if len(digits) != 11 || digits[4] < '2' || digits[4:7] == "976" { // 976 is premium in every area
		return unknownCountry
	}
	if country, ok := areas[digits[1:4]]; ok {
		return country
	}
	return unknownCountry
}

var (
	prefixes, longestPrefix = index(callingCodes)
	areas, _                = index(areaCodes)
)

// index turns "prefix prefix …" by country into country by prefix.
func index(table map[string]string) (countries map[string]string, longest int) {
	countries = map[string]string{}
	for country, list := range table {
		for prefix := range strings.FieldsSeq(list) {
			countries[prefix], longest = country, max(longest, len(prefix))
		}
	}
	return countries, longest
}

// callingCodes are the prefixes of ITU-T E.164 by country, without +1, and inside shared codes those of the smaller
// country. Compared with libphonenumber's metadata (nyaruka/phonenumbers v1.8.1, 2026-07); [unknownCountry] lists
// what a country's code covers and its price does not.
var callingCodes = map[string]string{
	"AC": "247", "AD": "376", "AE": "971", "AF": "93", "AL": "355", "AM": "374", "AO": "244", "AQ": "6721",
	"AR": "54", "AT": "43", "AU": "61", "AW": "297", "AX": "35818", "AZ": "994", "BA": "387", "BD": "880",
	"BE": "32", "BF": "226", "BG": "359", "BH": "973", "BI": "257", "BJ": "229", "BN": "673", "BO": "591",
	"BQ": "5993 5994 5997", "BR": "55", "BT": "975", "BW": "267", "BY": "375", "BZ": "501", "CC": "6189162",
	"CD": "243", "CF": "236", "CG": "242", "CH": "41", "CI": "225", "CK": "682", "CL": "56", "CM": "237",
	"CN": "86", "CO": "57", "CR": "506", "CU": "53", "CV": "238", "CW": "599", "CX": "6189164", "CY": "357",
	"CZ": "420", "DE": "49", "DJ": "253", "DK": "45", "DZ": "213", "EC": "593", "EE": "372", "EG": "20",
	"EH": "2125288 2125289", "ER": "291", "ES": "34", "ET": "251", "FI": "358", "FJ": "679", "FK": "500",
	"FM": "691", "FO": "298", "FR": "33", "GA": "241", "GB": "44", "GE": "995", "GF": "594",
	"GG": "441481 447781 447839 4479111 4479117", "GH": "233", "GI": "350", "GL": "299", "GM": "220", "GN": "224",
	"GP": "590", "GQ": "240", "GR": "30", "GT": "502", "GW": "245", "GY": "592", "HK": "852", "HN": "504",
	"HR": "385", "HT": "509", "HU": "36", "ID": "62", "IE": "353", "IL": "972",
	"IM": "441624 4474576 447524 447624 447924", "IN": "91", "IO": "246", "IQ": "964", "IR": "98", "IS": "354",
	"IT": "39", "JE": "441534 447509 4477003 4477007 4477008 447797 447829 447937", "JO": "962", "JP": "81",
	"KE": "254", "KG": "996", "KH": "855", "KI": "686", "KM": "269", "KP": "850", "KR": "82", "KW": "965",
	"KZ": "76 77", "LA": "856", "LB": "961", "LI": "423", "LK": "94", "LR": "231", "LS": "266", "LT": "370",
	"LU": "352", "LV": "371", "LY": "218", "MA": "212", "MC": "377", "MD": "373", "ME": "382", "MG": "261",
	"MH": "692", "MK": "389", "ML": "223", "MM": "95", "MN": "976", "MO": "853", "MQ": "596", "MR": "222",
	"MT": "356", "MU": "230", "MV": "960", "MW": "265", "MX": "52", "MY": "60", "MZ": "258", "NA": "264",
	"NC": "687", "NE": "227", "NF": "672", "NG": "234", "NI": "505", "NL": "31", "NO": "47", "NP": "977",
	"NR": "674", "NU": "683", "NZ": "64", "OM": "968", "PA": "507", "PE": "51", "PF": "689", "PG": "675",
	"PH": "63", "PK": "92", "PL": "48", "PM": "508", "PS": "970", "PT": "351", "PW": "680", "PY": "595",
	"QA": "974", "RE": "262", "RO": "40", "RS": "381", "RU": "7", "RW": "250", "SA": "966", "SB": "677",
	"SC": "248", "SD": "249", "SE": "46", "SG": "65", "SH": "290", "SI": "386", "SJ": "4779", "SK": "421",
	"SL": "232", "SM": "378", "SN": "221", "SO": "252", "SR": "597", "SS": "211", "ST": "239", "SV": "503",
	"SY": "963", "SZ": "268", "TA": "2908", "TD": "235", "TG": "228", "TH": "66", "TJ": "992", "TK": "690",
	"TL": "670", "TM": "993", "TN": "216", "TO": "676", "TR": "90", "TV": "688", "TW": "886", "TZ": "255",
	"UA": "380", "UG": "256", "UY": "598", "UZ": "998", "VA": "379 3906698", "VE": "58", "VN": "84",
	"VU": "678", "WF": "681", "WS": "685", "XK": "383", "YE": "967",
	"YT": "262269 26263 2629398 2629478 2629769", "ZA": "27", "ZM": "260", "ZW": "263",

	// Britain's personal, premium and shared-cost numbers, Russia's, and Abkhazia under Russia's code.
	unknownCountry: "4470 4484 4487 449 7803 7808 7809 7840 7940",
}

// areaCodes are those of the North American plan. Compared with libphonenumber's metadata as above. Not listed, hence
// unknown: toll-free (800 and the like), premium (900), personal (500 and the like), Canada's 600, 622 and 633.
var areaCodes = map[string]string{
	"AG": "268", "AI": "264", "AS": "684", "BB": "246", "BM": "441", "BS": "242", "DM": "767",
	"DO": "809 829 849", "GD": "473", "GU": "671", "JM": "658 876", "KN": "869", "KY": "345", "LC": "758",
	"MP": "670", "MS": "664", "PR": "787 939", "SX": "721", "TC": "649", "TT": "868", "VC": "784", "VG": "284",
	"VI": "340",

	"CA": `204 226 236 249 250 257 263 289 306 343 354 365 367 368 382 403 416 418 428 431 437 438 450 468 474
		506 514 519 548 579 581 584 587 604 613 639 647 672 683 705 709 742 753 778 780 782 807 819 825 867 873
		879 902 905 942`,

	"US": `201 202 203 205 206 207 208 209 210 212 213 214 215 216 217 218 219 220 223 224 225 227 228 229 231
		234 235 239 240 248 251 252 253 254 256 260 262 267 269 270 272 274 276 279 281 283 301 302 303 304 305
		307 308 309 310 312 313 314 315 316 317 318 319 320 321 323 324 325 326 327 329 330 331 332 334 336 337
		339 341 346 347 350 351 352 353 360 361 363 364 369 380 385 386 401 402 404 405 406 407 408 409 410 412
		413 414 415 417 419 423 424 425 430 432 434 435 440 442 443 445 447 448 458 463 464 469 470 472 475 478
		479 480 484 501 502 503 504 505 507 508 509 510 512 513 515 516 517 518 520 530 531 534 539 540 541 551
		557 559 561 562 563 564 567 570 571 572 573 574 575 580 582 585 586 601 602 603 605 606 607 608 609 610
		612 614 615 616 617 618 619 620 623 626 628 629 630 631 636 640 641 645 646 650 651 656 657 659 660 661
		662 667 669 678 680 681 682 686 689 701 702 703 704 706 707 708 712 713 714 715 716 717 718 719 720 724
		725 726 727 728 730 731 732 734 737 738 740 743 747 748 754 757 760 762 763 765 769 770 771 772 773 774
		775 779 781 785 786 801 802 803 804 805 806 808 810 812 813 814 815 816 817 818 820 821 826 828 830 831
		832 835 838 839 840 843 845 847 848 850 854 856 857 858 859 860 862 863 864 865 870 872 878 901 903 904
		906 907 908 909 910 912 913 914 915 916 917 918 919 920 925 928 929 930 931 934 936 937 938 940 941 943
		945 947 948 949 951 952 954 956 959 970 971 972 973 975 978 979 980 983 984 985 986 989`,
}
