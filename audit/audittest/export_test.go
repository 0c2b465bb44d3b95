package audittest

import "time"

// SetPatience makes the kit call a write hanging earlier, for mutants that hang for good.
func SetPatience(d time.Duration) { patience = d }
