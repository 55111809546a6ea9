// Runs the library's step as a pipeline would, on the steps that it uses: `groovy pipeline.groovy BODY SETTINGS`,
// where SETTINGS is a map in Groovy. sh is Jenkins': by the script's first line, its two outputs one, its folder
// the workspace; a file "abort" in the workspace ends it by TERM and an exception, as Jenkins' button does.
// Its exception has the name of Jenkins'.
class FlowInterruptedException extends RuntimeException {}

def workspace = new File(System.getenv('WORKSPACE'))
def environment = [new LinkedHashMap(System.getenv())]

def sh = { Object given ->
    String script = given instanceof Map ? given.script : given
    def file = File.createTempFile('script', '.sh')
    file.text = script
    def interpreter = script.startsWith('#!') ? script.readLines()[0].substring(2).split() as List : ['/bin/sh', '-xe']
    def builder = new ProcessBuilder(interpreter + [file.path]).directory(workspace).redirectErrorStream(true)
    builder.redirectInput(new File('/dev/null')).redirectOutput(ProcessBuilder.Redirect.INHERIT)
    builder.environment().clear()
    builder.environment().putAll(environment.last())
    def process = builder.start()
    def abort = new File(workspace, 'abort')
    while (process.alive) {
        if (abort.delete()) {
            process.destroy()
            process.waitFor()
            throw new FlowInterruptedException()
        }
        Thread.sleep(10)
    }
    file.delete()
    if (process.exitValue() != 0) throw new RuntimeException("script returned exit code ${process.exitValue()}")
}
def withEnv = { List variables, Closure body ->
    variables.each { assert it instanceof String : "Jenkins takes no ${it.class}" }
    environment << (environment.last() + variables.collectEntries { it.split('=', 2) as List })
    try { body() } finally { environment.remove(environment.size() - 1) }
}
def binding = new Binding([sh: sh, withEnv: withEnv, currentBuild: [currentResult: 'SUCCESS']])
def shell = new GroovyShell(this.class.classLoader, binding)
def step = shell.parse(new File(System.getenv('LIBRARY')))
step.call(shell.evaluate(args[1])) { sh(args[0]) }
println 'the pipeline goes on'
