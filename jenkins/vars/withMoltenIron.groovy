/**
 * Checks nodes out, runs the body, and checks them in again whatever became of it. withMoltenIron.txt says how.
 * Each setting becomes the variable of the hooks' flag of that name, so that nothing is pasted into a script.
 */
def call(Map settings = [:], Closure body) {
    List<String> variables = []
    for (setting in settings) {
        if (setting.value == null) { // a parameter that the pipeline does not have
            continue
        }
        String name = setting.key.toString().toUpperCase().replace('-', '_')
        variables << "MOLTENIRON_${name}=${setting.value instanceof List ? setting.value.join('\n') : setting.value}".toString()
    }
    withEnv(variables) {
        String result = 'FAILURE' // of a body that throws
        try {
            // Within the try: a build that is aborted while it waits has to leave the queue.
            sh label: 'molten-prehook', script: '#!/bin/sh -e\nexec molten-prehook'
            body()
            result = currentBuild.currentResult
        } catch (e) {
            if (e.toString().contains('FlowInterruptedException')) { // a person's abort, or a time limit's
                result = 'ABORTED'
            }
            throw e
        } finally {
            withEnv(["BUILD_RESULT=${result}".toString()]) {
                sh label: 'molten-posthook', script: '#!/bin/sh -e\nexec molten-posthook'
            }
        }
    }
}
