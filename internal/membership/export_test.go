package membership

// ConnectAfter is ConnectPatiently with a patience that a test can wait for.
var ConnectAfter = connectPatiently
