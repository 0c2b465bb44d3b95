package kbtwilio

import "github.com/keybrake/keybrake-go/vendors"

// Coded are the operations whose price or reply has code of its own.
func Coded() []vendors.Operation { return operations(newTariff(DefaultRates())) }
