module wit_component

go 1.25

require go.bytecodealliance.org/pkg v0.2.3

// What the bindings want at run time, as it comes with wit-bindgen.
replace go.bytecodealliance.org/pkg => ./pkg
